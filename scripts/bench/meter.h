/* What is measured: the time, and how long each of many calls took. */
#include <stdint.h>
#include <stdlib.h>
#include <time.h>

#define LATENCIES_MAX (8u << 20) /* of the calls after them only the number is kept */

struct latencies {
    uint32_t *ns; /* LATENCIES_MAX of them */
    uint64_t calls;
};

static inline double clock_of(clockid_t which)
{
    struct timespec t;
    clock_gettime(which, &t);
    return t.tv_sec + t.tv_nsec / 1e9;
}

static inline double now(void)
{
    return clock_of(CLOCK_MONOTONIC);
}

static inline uint64_t kept_of(const struct latencies *of)
{
    return of->calls < LATENCIES_MAX ? of->calls : LATENCIES_MAX;
}

static inline void count_call(struct latencies *into, double seconds)
{
    if (into->calls < LATENCIES_MAX)
        into->ns[into->calls] = seconds * 1e9;
    into->calls++;
}

static inline int by_value(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static inline void sort_latencies(struct latencies *of)
{
    qsort(of->ns, kept_of(of), sizeof *of->ns, by_value);
}

/* Of sorted ones; 0 where there are none. */
static inline double percentile_us(const struct latencies *of, double share)
{
    uint64_t kept = kept_of(of);
    return kept ? of->ns[(uint64_t)(share * (kept - 1))] / 1e3 : 0;
}
