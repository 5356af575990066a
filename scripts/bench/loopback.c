/* The bare loop: one process sends a file's bytes over loopback, another receives them.
 *
 *   loopback FILE SIZE SECONDS
 *
 * Sends SIZE bytes of the mapped FILE after HEAD bytes of a header by one sendmsg, as a READ is
 * answered, then the next SIZE bytes, from the beginning again at the end; nobody asks for them,
 * nobody waits for another. The receiver takes HEAD + SIZE bytes into one buffer, and so on.
 *
 * Prints one line of JSON, of the SECONDS after a tenth of them as warm-up: calls, seconds; and
 * of all that was sent: all_calls, cpu_us (of the sender).
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "meter.h"

#define HEAD 128

static void check(int is_wrong, const char *what)
{
    if (is_wrong) {
        perror(what);
        exit(1);
    }
}

/* Sends until the receiver is gone. */
static void send_all(int to, char *file, size_t file_size, size_t size)
{
    char head[HEAD] = {0};
    signal(SIGPIPE, SIG_IGN);
    for (size_t at = 0;; at = at + 2 * size <= file_size ? at + size : 0) {
        struct iovec parts[2] = {{head, HEAD}, {file + at, size}};
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
        size_t left = HEAD + size;
        while (left) {
            ssize_t sent = sendmsg(to, &message, 0);
            if (sent < 0)
                exit(0);
            left -= sent;
            while (message.msg_iovlen && (size_t)sent >= message.msg_iov->iov_len) {
                sent -= message.msg_iov->iov_len;
                message.msg_iov++;
                message.msg_iovlen--;
            }
            if (message.msg_iovlen) {
                message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + sent;
                message.msg_iov->iov_len -= sent;
            }
        }
    }
}

static uint64_t receive_for(int from, char *buffer, size_t size, double *seconds)
{
    uint64_t calls = 0;
    double begin = now(), end = begin;
    for (; end < begin + *seconds; end = now(), calls++)
        for (size_t got = 0; got < size;) {
            ssize_t part = recv(from, buffer + got, size - got, 0);
            check(part <= 0, "recv");
            got += part;
        }
    *seconds = end - begin;
    return calls;
}

int main(int argc, char **argv)
{
    struct stat status;
    int file = argc == 4 ? open(argv[1], O_RDONLY) : -1;
    check(file < 0 || fstat(file, &status), "usage: loopback FILE SIZE SECONDS");
    size_t size = strtoull(argv[2], NULL, 10);
    double seconds = atof(argv[3]), warm_up = seconds / 10;
    char *bytes = mmap(NULL, status.st_size, PROT_READ, MAP_SHARED, file, 0);
    check(bytes == MAP_FAILED || size == 0 || size > (size_t)status.st_size, "mmap");

    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0), near = socket(AF_INET, SOCK_STREAM, 0);
    check(bind(listener, (void *)&address, length) || listen(listener, 1), "listen");
    check(getsockname(listener, (void *)&address, &length), "getsockname");
    pid_t sender = fork();
    check(sender < 0, "fork");
    if (sender == 0) {
        close(near);
        send_all(accept(listener, NULL, NULL), bytes, status.st_size, size);
    }
    check(connect(near, (void *)&address, length), "connect");

    char *buffer = malloc(HEAD + size);
    uint64_t before = receive_for(near, buffer, HEAD + size, &warm_up);
    uint64_t calls = receive_for(near, buffer, HEAD + size, &seconds);
    close(near);
    struct rusage used;
    check(waitpid(sender, NULL, 0) != sender || getrusage(RUSAGE_CHILDREN, &used), "wait");
    double cpu_us = (used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1e6 +
                    used.ru_utime.tv_usec + used.ru_stime.tv_usec;
    printf("{\"calls\": %lu, \"seconds\": %.6f, \"all_calls\": %lu, \"cpu_us\": %.1f}\n", calls,
           seconds, before + calls, cpu_us);
    return 0;
}
