/* The bench's client, in C because one in Python would itself be what is measured.
 *
 *   load tcp PORT COUNT AT_ONCE SECONDS NEED SEND END
 *       connect, send SEND, read NEED bytes that finish with END, close; COUNT times or for
 *       SECONDS, whichever comes first. SEND and END are hex, "-" for nothing.
 *   load udp PORT SECONDS SOURCES PAYLOAD...
 *       send the payloads (hex) in turn, in bursts of 64, as fast as one core can, from SOURCES
 *       addresses of which each is in a /24 of its own (1: 127.0.0.1).
 *
 * Everything is on 127.0.0.1. It prints one JSON object. Time runs from before connect(2) until
 * the last byte has been read. Datagrams are counted by the kernel: those that were read by
 * whoever listens (InDatagrams, less our own), and those dropped before (/proc/net/udp).
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum {
    TIMEOUT = 5,         /* seconds without any answer; then whatever is open has failed */
    SOURCES_TCP = 16,    /* one address has 28,000 ports, and each waits a minute after use */
    BURST = 64,
    PAYLOADS = 16,
    RECEIVE_BUFFER = 4 << 20,
    CMSG_BYTES = CMSG_SPACE(sizeof(struct in_pktinfo)),
};

struct job {
    struct sockaddr_in to;
    long count, failed, done, started;
    double seconds;
    size_t need, send_bytes, end_bytes;
    unsigned char *send, *end;
    double *microseconds;
};

struct slot {
    int fd, sent;
    size_t got;
    double began;
    unsigned char *bytes;
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static unsigned char *from_hex(const char *hex, size_t *bytes)
{
    size_t length = strcmp(hex, "-") == 0 ? 0 : strlen(hex) / 2;
    unsigned char *out = malloc(length + 1);
    unsigned value;

    for (size_t i = 0; i < length; i++) {
        if (sscanf(hex + 2 * i, "%2x", &value) != 1)
            die("hex");
        out[i] = (unsigned char)value;
    }
    *bytes = length;
    return out;
}

static void finish(struct job *job, struct slot *slot)
{
    int whole = slot->got == job->need
        && memcmp(slot->bytes + job->need - job->end_bytes, job->end, job->end_bytes) == 0;

    if (whole)
        job->microseconds[job->done++] = (now() - slot->began) * 1e6;
    else
        job->failed++;
    close(slot->fd);
    slot->fd = -1;
}

static void one_after_another(struct job *job)
{
    struct slot slot = {.bytes = malloc(job->need)};
    struct timeval patience = {.tv_sec = TIMEOUT};
    double until = now() + job->seconds;

    while (job->started < job->count && now() < until) {
        job->started++;
        slot.got = 0;
        slot.fd = socket(AF_INET, SOCK_STREAM, 0);
        setsockopt(slot.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        slot.began = now();
        if (connect(slot.fd, (struct sockaddr *)&job->to, sizeof job->to) == 0
            && (!job->send_bytes || send(slot.fd, job->send, job->send_bytes, MSG_NOSIGNAL) > 0)) {
            ssize_t n = 1;
            while (slot.got < job->need && n > 0) {
                n = recv(slot.fd, slot.bytes + slot.got, job->need - slot.got, 0);
                slot.got += n > 0 ? (size_t)n : 0;
            }
        }
        finish(job, &slot);
    }
}

static void start(struct job *job, struct slot *slot, int epoll)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = slot};
    struct sockaddr_in from = {.sin_family = AF_INET};
    int yes = 1;

    slot->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    slot->sent = 0;
    slot->got = 0;
    from.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (unsigned)(job->started++ % SOURCES_TCP));
    setsockopt(slot->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    if (slot->fd < 0 || bind(slot->fd, (struct sockaddr *)&from, sizeof from) < 0)
        die("bind");
    slot->began = now();
    if ((connect(slot->fd, (struct sockaddr *)&job->to, sizeof job->to) < 0 && errno != EINPROGRESS)
        || epoll_ctl(epoll, EPOLL_CTL_ADD, slot->fd, &event) < 0)
        finish(job, slot);
}

static void advance(struct job *job, struct slot *slot)
{
    if (!slot->sent && job->send_bytes) {
        if (send(slot->fd, job->send, job->send_bytes, MSG_NOSIGNAL) < 0) {
            if (errno != EAGAIN && errno != ENOTCONN)
                finish(job, slot);
            return;
        }
        slot->sent = 1;
    }
    while (slot->got < job->need) {
        ssize_t n = recv(slot->fd, slot->bytes + slot->got, job->need - slot->got, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            break;
        slot->got += (size_t)n;
    }
    finish(job, slot);
}

static void at_once(struct job *job, int slots)
{
    struct slot *slot = calloc((size_t)slots, sizeof *slot);
    struct epoll_event events[256];
    double until = now() + job->seconds;
    int epoll = epoll_create1(0), open = 0;

    for (int i = 0; i < slots; i++) {
        slot[i].bytes = malloc(job->need);
        slot[i].fd = -1;
    }
    for (;;) {
        open = 0;
        for (int i = 0; i < slots; i++) {
            if (slot[i].fd < 0 && job->started < job->count && now() < until)
                start(job, &slot[i], epoll);
            open += slot[i].fd >= 0;
        }
        if (!open && (job->started >= job->count || now() >= until))
            return;
        int ready = epoll_wait(epoll, events, 256, TIMEOUT * 1000);
        if (ready <= 0) {
            job->failed += open;
            return;
        }
        for (int i = 0; i < ready; i++)
            advance(job, events[i].data.ptr);
    }
}

static int tcp(int argc, char **argv)
{
    struct job job = {.to.sin_family = AF_INET};

    if (argc != 9)
        return 2;
    job.to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    job.to.sin_port = htons((unsigned short)atoi(argv[2]));
    job.count = atol(argv[3]);
    job.seconds = atof(argv[5]);
    job.need = (size_t)atol(argv[6]);
    job.send = from_hex(argv[7], &job.send_bytes);
    job.end = from_hex(argv[8], &job.end_bytes);
    job.microseconds = calloc((size_t)job.count, sizeof *job.microseconds);
    if (job.end_bytes > job.need)
        return 2;
    double began = now();
    if (atoi(argv[4]) == 1)
        one_after_another(&job);
    else
        at_once(&job, atoi(argv[4]));
    printf("{\"seconds\": %.6f, \"failed\": %ld, \"microseconds\": [", now() - began, job.failed);
    for (long i = 0; i < job.done; i++)
        printf("%s%.1f", i ? ", " : "", job.microseconds[i]);
    puts("]}");
    return 0;
}

/* What waits at this udp port, in bytes, and how many the kernel has dropped before it. */
static void look(int port, long *waiting, long *dropped)
{
    char line[512];
    FILE *table = fopen("/proc/net/udp", "r");

    *waiting = *dropped = 0;
    while (table && fgets(line, sizeof line, table)) {
        unsigned local;
        long queued, drops;
        char *last = strrchr(line, ' ');
        while (last && last > line && (last[1] == '\n' || last[1] == '\0')) {
            *last = '\0'; /* the lines are padded with blanks */
            last = strrchr(line, ' ');
        }
        if (last && sscanf(line, " %*d: %*8x:%4x %*8x:%*4x %*2x %*8x:%8lx", &local, &queued) == 2
            && local == (unsigned)port && sscanf(last, "%ld", &drops) == 1) {
            *waiting += queued;
            *dropped += drops;
        }
    }
    if (!table)
        die("/proc/net/udp");
    fclose(table);
}

static long read_by_all(void)
{
    char line[512];
    long datagrams = -1;
    FILE *counters = fopen("/proc/net/snmp", "r");

    while (counters && fgets(line, sizeof line, counters))
        if (sscanf(line, "Udp: %ld", &datagrams) == 1)
            break;
    if (!counters || datagrams < 0)
        die("/proc/net/snmp");
    fclose(counters);
    return datagrams;
}

static struct in_addr source(long i, long sources)
{
    unsigned long network = sources == 1 ? 0 : 0x100 + (unsigned long)(i % sources);

    return (struct in_addr){.s_addr = htonl((unsigned)(0x7f000001 + (network << 8)))};
}

static long collect(int fd)
{
    static char bytes[BURST][2048];
    struct mmsghdr messages[BURST];
    struct iovec parts[BURST];
    long all = 0;
    int n;

    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BURST; i++) {
        parts[i] = (struct iovec){bytes[i], sizeof bytes[i]};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    while ((n = recvmmsg(fd, messages, BURST, MSG_DONTWAIT, NULL)) > 0)
        all += n;
    return all;
}

static long burst(int fd, struct sockaddr_in *to, long first, long sources, struct iovec *payloads,
                  int kinds)
{
    static union {
        char bytes[CMSG_BYTES];
        struct cmsghdr align;
    } control[BURST];
    struct mmsghdr messages[BURST];
    int sent = 0;

    memset(messages, 0, sizeof messages);
    for (int i = 0; i < BURST; i++) {
        struct msghdr *message = &messages[i].msg_hdr;
        struct in_pktinfo from = {.ipi_spec_dst = source(first + i, sources)};
        *message = (struct msghdr){to, sizeof *to, &payloads[(first + i) % kinds], 1,
                                   control[i].bytes, CMSG_BYTES, 0};
        struct cmsghdr *head = CMSG_FIRSTHDR(message);
        head->cmsg_level = IPPROTO_IP;
        head->cmsg_type = IP_PKTINFO;
        head->cmsg_len = CMSG_LEN(sizeof from);
        memcpy(CMSG_DATA(head), &from, sizeof from);
    }
    while (sent < BURST) {
        int n = sendmmsg(fd, messages + sent, (unsigned)(BURST - sent), 0);
        if (n < 0)
            die("sendmmsg");
        sent += n;
    }
    return sent;
}

static int udp(int argc, char **argv)
{
    struct sockaddr_in to = {.sin_family = AF_INET}, any = {.sin_family = AF_INET};
    struct iovec payloads[PAYLOADS];
    int fd = socket(AF_INET, SOCK_DGRAM, 0), room = RECEIVE_BUFFER, kinds = argc - 5;
    long sent = 0, answered = 0, waiting, dropped, before;

    if (kinds < 1 || kinds > PAYLOADS)
        return 2;
    for (int i = 0; i < kinds; i++)
        payloads[i].iov_base = from_hex(argv[5 + i], &payloads[i].iov_len);
    int port = atoi(argv[2]);
    long sources = atol(argv[4]);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    to.sin_port = htons((unsigned short)port);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    if (bind(fd, (struct sockaddr *)&any, sizeof any) < 0)
        die("bind");
    look(port, &waiting, &before);
    long read_before = read_by_all();
    double began = now(), until = began + atof(argv[3]);
    while (now() < until) {
        sent += burst(fd, &to, sent, sources, payloads, kinds);
        answered += collect(fd);
    }
    double sending = now();
    do /* what is still queued is work to be done in the time that is measured */
        look(port, &waiting, &dropped);
    while (waiting && now() < sending + TIMEOUT);
    double ended = now();
    for (int i = 0; i < 20; i++) {
        usleep(10000);
        answered += collect(fd);
    }
    printf("{\"sent\": %ld, \"dropped\": %ld, \"taken\": %ld, \"answered\": %ld, \"seconds\": %.6f}\n",
           sent, dropped - before, read_by_all() - read_before - answered, answered, ended - began);
    return 0;
}

int main(int argc, char **argv)
{
    int code = 2;

    if (argc > 2 && strcmp(argv[1], "tcp") == 0)
        code = tcp(argc, argv);
    else if (argc > 4 && strcmp(argv[1], "udp") == 0)
        code = udp(argc, argv);
    if (code == 2)
        fputs("usage: load tcp PORT COUNT AT_ONCE SECONDS NEED SEND END | "
              "load udp PORT SECONDS SOURCES PAYLOAD...\n", stderr);
    return code;
}
