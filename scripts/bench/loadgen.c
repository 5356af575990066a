/* Load generator: keeps DEPTH calls of one kind outstanding on one connection, over libnfs.
 *
 *   loadgen [-c COPY] [-f FIRST] [-n CALLS] NFSPORT MOUNTPORT EXPORT NAME JOB DEPTH SECONDS SIZE
 *
 * NAME is an entry of the export's root: a file, or for readdirplus and create a directory ("." is
 * the root). JOB is one of getattr, lookup, access, read, scatter, readdirplus, and of write,
 * write_sync, create. SIZE is what a call asks for: bytes of a read, scatter or write, maxcount of
 * a readdirplus; the others take no notice. read goes through the file from its beginning, again
 * and again; scatter reads the beginning of each BLOCK of it once, in an order without a pattern,
 * from the FIRSTth on. COPY is a local copy of the file: every byte read is compared. All walks of
 * a readdirplus must show equally many entries.
 *
 * write and write_sync make NAME anew and fill it from its beginning, UNSTABLE or FILE_SYNC, and in
 * the end COMMIT it, which is part of what is measured; create makes empty files, the FIRSTth of
 * them first. These want -n: all ends after so many CALLS, whatever the SECONDS, and is measured
 * from the first call to the last answer.
 *
 * Without -n, prints "begun" when the first calls are out and a tenth of the SECONDS has gone as
 * warm-up. Then one line of JSON, of the SECONDS after that: calls, bytes, entries, seconds,
 * cpu_seconds (this client's own), p50_us, p99_us; and of all that was done: all_calls, fastest_us,
 * and walk (entries from a directory's beginning to its end; 0: no walk came to it).
 */
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <nfsc/libnfs.h>
#include <nfsc/libnfs-raw.h>
#include <nfsc/libnfs-raw-mount.h>
#include <nfsc/libnfs-raw-nfs.h>

#include "meter.h"

#define HANDLE_MAX 64
#define STALLED_MS 30000
#define BLOCK (128u << 10)     /* what hfnfs fetches at least */
#define SHUFFLE 1000003u       /* a prime above the number of blocks */

struct handle {
    char bytes[HANDLE_MAX];
    u_int length;
};

/* One of the DEPTH calls that are outstanding. */
struct slot {
    double sent;
    uint64_t offset, count;      /* read */
    uint64_t cookie;             /* readdirplus: where this slot's walk has come to */
    char verifier[8];
    uint64_t walked;             /* entries since its beginning */
};

struct kind {
    const char *name;
    int (*send)(struct slot *);
    void (*received)(struct slot *, void *reply); /* NULL: nothing to take from the reply */
    int writes;                                   /* NAME is made, and committed in the end */
};

static struct rpc_context *rpc;
static struct handle root, object;
static char *entry_name;
static const struct kind *kind;
static uint64_t size, file_size, next_offset, next_block, calls_left = UINT64_MAX;
static const char *check;
static char *noise;             /* what is written: SIZE bytes that do not compress */
static char write_verifier[8];
static struct slot *slots;
static int flying, stopping, counting;
static uint64_t all_calls, bytes, entries, walk;
static struct latencies measured;
static double fastest = 1e9; /* seconds */

static void die(const char *what, const char *why)
{
    fprintf(stderr, "loadgen: %s: %s\n", what, why);
    exit(1);
}

static void turn(void)
{
    struct pollfd p = {.fd = rpc_get_fd(rpc), .events = rpc_which_events(rpc)};
    int ready = poll(&p, 1, STALLED_MS);
    if (ready == 0)
        die("no answer", "stalled");
    if (ready < 0 || rpc_service(rpc, p.revents) < 0)
        die("connection", rpc_get_error(rpc));
}

static nfs_fh3 fh(struct handle *of)
{
    nfs_fh3 made;
    made.data.data_len = of->length;
    made.data.data_val = of->bytes;
    return made;
}

static void keep(struct handle *into, const char *from, u_int length)
{
    if (length > HANDLE_MAX)
        die("handle", "too long");
    memcpy(into->bytes, from, length);
    into->length = length;
}

/* ------------------------------------------------------------------ the kinds of call */

static void done(struct rpc_context *context, int status, void *reply, void *private_data);

static int send_getattr(struct slot *slot)
{
    GETATTR3args args = {.object = fh(&object)};
    return rpc_nfs3_getattr_async(rpc, done, &args, slot);
}

static int send_lookup(struct slot *slot)
{
    LOOKUP3args args = {.what = {.dir = fh(&root), .name = entry_name}};
    return rpc_nfs3_lookup_async(rpc, done, &args, slot);
}

static int send_access(struct slot *slot)
{
    ACCESS3args args = {.object = fh(&object), .access = 0x3f};
    return rpc_nfs3_access_async(rpc, done, &args, slot);
}

static int send_read(struct slot *slot)
{
    if (next_offset >= file_size)
        next_offset = 0;
    slot->offset = next_offset;
    slot->count = size < file_size - next_offset ? size : file_size - next_offset;
    next_offset += slot->count;
    READ3args args = {.file = fh(&object), .offset = slot->offset, .count = slot->count};
    return rpc_nfs3_read_async(rpc, done, &args, slot);
}

static int send_scatter(struct slot *slot)
{
    uint64_t blocks = file_size / BLOCK;
    if (next_block >= blocks)
        die("scatter", "all blocks were read");
    slot->offset = next_block++ * SHUFFLE % blocks * BLOCK;
    slot->count = size;
    READ3args args = {.file = fh(&object), .offset = slot->offset, .count = slot->count};
    return rpc_nfs3_read_async(rpc, done, &args, slot);
}

static void received_read(struct slot *slot, void *reply)
{
    READ3resok *ok = &((READ3res *)reply)->READ3res_u.resok;
    if (ok->count != slot->count || ok->data.data_len != slot->count)
        die("read", "not what was asked for");
    if (check && memcmp(ok->data.data_val, check + slot->offset, slot->count))
        die("read", "other bytes than the copy's");
    if (counting)
        bytes += slot->count;
}

static int send_readdirplus(struct slot *slot)
{
    READDIRPLUS3args args = {
        .dir = fh(&object), .cookie = slot->cookie, .dircount = size, .maxcount = size};
    memcpy(args.cookieverf, slot->verifier, sizeof args.cookieverf);
    return rpc_nfs3_readdirplus_async(rpc, done, &args, slot);
}

static void received_readdirplus(struct slot *slot, void *reply)
{
    READDIRPLUS3resok *ok = &((READDIRPLUS3res *)reply)->READDIRPLUS3res_u.resok;
    for (entryplus3 *entry = ok->reply.entries; entry; entry = entry->nextentry) {
        slot->cookie = entry->cookie;
        slot->walked++;
        entries += counting;
    }
    memcpy(slot->verifier, ok->cookieverf, sizeof slot->verifier);
    if (!ok->reply.eof)
        return;
    if (walk && walk != slot->walked)
        die("readdirplus", "more or fewer entries than before");
    walk = slot->walked;
    slot->walked = slot->cookie = 0;
    memset(slot->verifier, 0, sizeof slot->verifier);
}

static int write_next(struct slot *slot, stable_how stable)
{
    slot->offset = next_offset;
    next_offset += size;
    memcpy(noise, &slot->offset, sizeof slot->offset); /* no two pieces are the same */
    WRITE3args args = {.file = fh(&object), .offset = slot->offset, .count = size, .stable = stable};
    args.data.data_len = size;
    args.data.data_val = noise;
    return rpc_nfs3_write_async(rpc, done, &args, slot);
}

static int send_write(struct slot *slot)
{
    return write_next(slot, UNSTABLE);
}

static int send_write_sync(struct slot *slot)
{
    return write_next(slot, FILE_SYNC);
}

static void same_verifier(const char *verifier)
{
    static const char none[8];
    if (memcmp(write_verifier, none, 8) && memcmp(write_verifier, verifier, 8))
        die("write", "another verifier than before");
    memcpy(write_verifier, verifier, 8);
}

static void received_write(struct slot *slot, void *reply)
{
    WRITE3resok *ok = &((WRITE3res *)reply)->WRITE3res_u.resok;
    (void)slot;
    if (ok->count != size)
        die("write", "not all was taken");
    if (kind->send == send_write_sync && ok->committed != FILE_SYNC)
        die("write", "not as stable as was asked for");
    same_verifier(ok->verf);
    if (counting)
        bytes += ok->count;
}

static int send_create(struct slot *slot)
{
    char name[32];
    snprintf(name, sizeof name, "made-%08lu", next_block++);
    CREATE3args args = {.where = {.dir = fh(&object), .name = name}, .how = {.mode = GUARDED}};
    args.how.createhow3_u.g_obj_attributes.mode.set_it = 1;
    args.how.createhow3_u.g_obj_attributes.mode.set_mode3_u.mode = 0644;
    return rpc_nfs3_create_async(rpc, done, &args, slot);
}

static const struct kind KINDS[] = {
    {"getattr", send_getattr, NULL, 0},
    {"lookup", send_lookup, NULL, 0},
    {"access", send_access, NULL, 0},
    {"read", send_read, received_read, 0},
    {"scatter", send_scatter, received_read, 0},
    {"readdirplus", send_readdirplus, received_readdirplus, 0},
    {"write", send_write, received_write, 1},
    {"write_sync", send_write_sync, received_write, 1},
    {"create", send_create, NULL, 0},
};

static void launch(struct slot *slot)
{
    if (!calls_left)
        return;
    calls_left--;
    slot->sent = now();
    if (kind->send(slot))
        die(kind->name, rpc_get_error(rpc));
    flying++;
}

static void done(struct rpc_context *context, int status, void *reply, void *private_data)
{
    struct slot *slot = private_data;
    (void)context;
    if (status != RPC_STATUS_SUCCESS)
        die(kind->name, "no reply");
    if (*(nfsstat3 *)reply != NFS3_OK) /* what every result begins with */
        die(kind->name, nfsstat3_to_str(*(nfsstat3 *)reply));
    if (kind->received)
        kind->received(slot, reply);
    double took = now() - slot->sent;
    if (took < fastest)
        fastest = took;
    if (counting)
        count_call(&measured, took);
    all_calls++;
    flying--;
    if (!stopping)
        launch(slot);
}

/* ------------------------------------------------------------------ before and after */

static int waiting;

static void connected(struct rpc_context *context, int status, void *data, void *private_data)
{
    (void)context, (void)private_data;
    if (status != RPC_STATUS_SUCCESS)
        die("connect", data ? data : "refused");
    waiting = 0;
}

static void mounted(struct rpc_context *context, int status, void *data, void *private_data)
{
    mountres3 *reply = data;
    (void)context, (void)private_data;
    if (status != RPC_STATUS_SUCCESS || reply->fhs_status != MNT3_OK)
        die("mount", status ? "no reply" : mountstat3_to_str(reply->fhs_status));
    fhandle3 *given = &reply->mountres3_u.mountinfo.fhandle;
    keep(&root, given->fhandle3_val, given->fhandle3_len);
    waiting = 0;
}

static void found(struct rpc_context *context, int status, void *data, void *private_data)
{
    LOOKUP3res *reply = data;
    (void)context, (void)private_data;
    if (status != RPC_STATUS_SUCCESS || reply->status != NFS3_OK)
        die(entry_name, status ? "no reply" : nfsstat3_to_str(reply->status));
    LOOKUP3resok *ok = &reply->LOOKUP3res_u.resok;
    if (!ok->obj_attributes.attributes_follow)
        die(entry_name, "no attributes");
    keep(&object, ok->object.data.data_val, ok->object.data.data_len);
    file_size = ok->obj_attributes.post_op_attr_u.attributes.size;
    waiting = 0;
}

static void made(struct rpc_context *context, int status, void *data, void *private_data)
{
    CREATE3res *reply = data;
    (void)context, (void)private_data;
    if (status != RPC_STATUS_SUCCESS || reply->status != NFS3_OK)
        die(entry_name, status ? "no reply" : nfsstat3_to_str(reply->status));
    CREATE3resok *ok = &reply->CREATE3res_u.resok;
    if (!ok->obj.handle_follows)
        die(entry_name, "no handle");
    nfs_fh3 *given = &ok->obj.post_op_fh3_u.handle;
    keep(&object, given->data.data_val, given->data.data_len);
    waiting = 0;
}

static void committed(struct rpc_context *context, int status, void *data, void *private_data)
{
    COMMIT3res *reply = data;
    (void)context, (void)private_data;
    if (status != RPC_STATUS_SUCCESS || reply->status != NFS3_OK)
        die("commit", status ? "no reply" : nfsstat3_to_str(reply->status));
    same_verifier(reply->COMMIT3res_u.resok.verf);
    waiting = 0;
}

static void await(int refused)
{
    if (refused)
        die("call", rpc_get_error(rpc));
    for (waiting = 1; waiting;)
        turn();
}

static void make_object(void)
{
    CREATE3args args = {.where = {.dir = fh(&root), .name = entry_name}, .how = {.mode = UNCHECKED}};
    sattr3 *wanted = &args.how.createhow3_u.obj_attributes;
    wanted->mode.set_it = wanted->size.set_it = 1;
    wanted->mode.set_mode3_u.mode = 0644;
    await(rpc_nfs3_create_async(rpc, made, &args, NULL));
    int dice = open("/dev/urandom", O_RDONLY);
    noise = malloc(size);
    if (dice < 0 || !noise || read(dice, noise, size) != (ssize_t)size || size < 8)
        die("noise", "cannot be made");
    close(dice);
}

static void commit_object(void)
{
    COMMIT3args args = {.file = fh(&object)};
    await(rpc_nfs3_commit_async(rpc, committed, &args, NULL));
}

static void open_object(int nfs_port, int mount_port, char *export)
{
    rpc = rpc_init_context();
    await(rpc_connect_async(rpc, "127.0.0.1", mount_port, connected, NULL));
    await(rpc_mount3_mnt_async(rpc, mounted, export, NULL));
    rpc_destroy_context(rpc);
    rpc = rpc_init_context();
    await(rpc_connect_async(rpc, "127.0.0.1", nfs_port, connected, NULL));
    if (kind->writes) {
        make_object();
        return;
    }
    LOOKUP3args args = {.what = {.dir = fh(&root), .name = entry_name}};
    await(rpc_nfs3_lookup_async(rpc, found, &args, NULL));
}

static void map_copy(const char *path)
{
    struct stat status;
    int file = open(path, O_RDONLY);
    if (file < 0 || fstat(file, &status) || (uint64_t)status.st_size != file_size)
        die(path, "is no copy of the file");
    check = mmap(NULL, file_size, PROT_READ, MAP_SHARED, file, 0);
    if (check == MAP_FAILED)
        die(path, "cannot be mapped");
}

static void usage(void)
{
    die("usage", "[-c COPY] [-f FIRST] [-n CALLS] NFSPORT MOUNTPORT EXPORT NAME JOB DEPTH SECONDS SIZE");
}

static void tell(double seconds, double cpu_seconds)
{
    sort_latencies(&measured);
    printf("{\"calls\": %lu, \"bytes\": %lu, \"entries\": %lu, \"seconds\": %.6f, "
           "\"cpu_seconds\": %.6f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"all_calls\": %lu, "
           "\"fastest_us\": %.1f, \"walk\": %lu}\n",
           measured.calls, bytes, entries, seconds, cpu_seconds, percentile_us(&measured, 0.5),
           percentile_us(&measured, 0.99), all_calls, fastest * 1e6, walk);
}

static void measure_for(double seconds)
{
    for (double begin = now(); now() < begin + seconds / 10;)
        turn();
    puts("begun");
    fflush(stdout);
    counting = 1;
    double begin = now(), end = begin, cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    for (; end < begin + seconds; end = now())
        turn();
    cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    counting = 0;
    stopping = 1;
    while (flying)
        turn();
    tell(end - begin, cpu);
}

static void measure_all(int depth)
{
    counting = 1;
    double begin = now(), cpu = clock_of(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < depth; i++)
        launch(&slots[i]);
    while (flying)
        turn();
    if (kind->writes)
        commit_object();
    tell(now() - begin, clock_of(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

int main(int argc, char **argv)
{
    const char *copy = NULL;
    for (int option; (option = getopt(argc, argv, "c:f:n:")) != -1;)
        if (option == 'c')
            copy = optarg;
        else if (option == 'f')
            next_block = strtoull(optarg, NULL, 10);
        else if (option == 'n')
            calls_left = strtoull(optarg, NULL, 10);
        else
            usage();
    if (argc - optind != 8)
        usage();
    argv += optind;
    entry_name = argv[3];
    for (size_t i = 0; i < sizeof KINDS / sizeof *KINDS; i++)
        if (!strcmp(KINDS[i].name, argv[4]))
            kind = &KINDS[i];
    int depth = atoi(argv[5]);
    double seconds = atof(argv[6]);
    size = strtoull(argv[7], NULL, 10);
    if (!kind || depth < 1 || seconds <= 0)
        die("usage", "no such job, or no depth, or no time");
    open_object(atoi(argv[0]), atoi(argv[1]), argv[2]);
    if (copy)
        map_copy(copy);
    slots = calloc(depth, sizeof *slots);
    measured.ns = malloc(LATENCIES_MAX * sizeof *measured.ns);
    if (calls_left != UINT64_MAX) {
        measure_all(depth);
        return 0;
    }
    for (int i = 0; i < depth; i++)
        launch(&slots[i]);
    measure_for(seconds);
    return 0;
}
