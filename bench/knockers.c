/* Strangers who keep an ssh server busy before they have logged in.
 *
 *   knockers PORT AT_ONCE SOURCES
 *       to 127.0.0.1, until its input ends. Each says its version and then sends the smallest
 *       packets there are (SSH_MSG_IGNORE, RFC 4253 section 11.2), as fast as they are taken.
 *       Whoever is cut off comes again. They come from SOURCES addresses, each in a /24 of its own
 *       above 127.1/16: none of them is that of other clients.
 *
 * It gives way to everybody else on this machine, as if it were elsewhere (SCHED_IDLE). In the end
 * it prints one JSON object.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    AT_ONCE_MAX = 4096,
    PACKET = 16,
    PACKETS = 64,           /* in one send */
    UNSENT = 4096,          /* bytes: what waits here is not yet anybody's work */
    FIRST = 0x7f010001,     /* 127.1.0.1 */
    CONNECTIONS_RATE = 500, /* a second: ports that were used are not used again for a minute */
};

static const char version[] = "SSH-2.0-knock\r\n";
static unsigned char packets[PACKET * PACKETS];

struct knocker {
    int fd, greeted;
    size_t step; /* bytes of a packet that is half sent */
};

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void leave(struct knocker *knocker)
{
    struct linger at_once = {.l_onoff = 1};

    setsockopt(knocker->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    close(knocker->fd);
    knocker->fd = -1;
}

static void come(struct knocker *knocker, int epoll, struct sockaddr_in *to, long source)
{
    struct epoll_event event = {.events = EPOLLOUT, .data.ptr = knocker};
    struct sockaddr_in from = {.sin_family = AF_INET};
    int yes = 1, unsent = UNSENT;

    from.sin_addr.s_addr = htonl(FIRST + ((unsigned)source << 8));
    knocker->greeted = 0;
    knocker->step = 0;
    knocker->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(knocker->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &yes, sizeof yes);
    setsockopt(knocker->fd, SOL_SOCKET, SO_SNDBUF, &unsent, sizeof unsent);
    if (knocker->fd < 0 || bind(knocker->fd, (struct sockaddr *)&from, sizeof from) < 0) {
        perror("knockers");
        exit(1);
    }
    (void)connect(knocker->fd, (struct sockaddr *)to, sizeof *to); /* in progress: seen later */
    epoll_ctl(epoll, EPOLL_CTL_ADD, knocker->fd, &event);
}

/* Return how many bytes of packets were taken. */
static long knock(struct knocker *knocker)
{
    ssize_t n;

    if (!knocker->greeted) {
        n = send(knocker->fd, version, sizeof version - 1, MSG_NOSIGNAL);
        knocker->greeted = n > 0;
        if (n <= 0)
            leave(knocker);
        return 0;
    }
    n = send(knocker->fd, packets + knocker->step, sizeof packets - knocker->step, MSG_NOSIGNAL);
    if (n < 0) {
        if (errno != EAGAIN)
            leave(knocker);
        return 0;
    }
    knocker->step = (knocker->step + (size_t)n) % PACKET;
    return n;
}

int main(int argc, char **argv)
{
    static struct knocker knocker[AT_ONCE_MAX];
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    struct sched_param none = {0};
    struct epoll_event events[256];
    int epoll = epoll_create1(0), slots = argc == 4 ? atoi(argv[2]) : 0;
    long opened = 0, bytes = 0;

    if (slots < 1 || slots > AT_ONCE_MAX || atol(argv[3]) < 1) {
        fputs("usage: knockers PORT AT_ONCE SOURCES\n", stderr);
        return 2;
    }
    for (int i = 0; i < PACKETS; i++) /* length, padding's length, type, an empty string, padding */
        memcpy(packets + PACKET * i, "\0\0\0\x0c\x06\x02", 6);
    to.sin_port = htons((unsigned short)atoi(argv[1]));
    sched_setscheduler(0, SCHED_IDLE, &none);
    for (int i = 0; i < slots; i++)
        knocker[i].fd = -1;
    double began = now();
    while (poll(&input, 1, 0) == 0) {
        for (int i = 0; i < slots && opened < slots + CONNECTIONS_RATE * (now() - began); i++)
            if (knocker[i].fd < 0)
                come(&knocker[i], epoll, &to, opened++ % atol(argv[3]));
        int ready = epoll_wait(epoll, events, 256, 5);
        for (int i = 0; i < ready; i++) {
            struct knocker *who = events[i].data.ptr;
            if (events[i].events & (EPOLLERR | EPOLLHUP))
                leave(who);
            else
                bytes += knock(who);
        }
    }
    printf("{\"opened\": %ld, \"packets\": %ld, \"seconds\": %.3f}\n", opened, bytes / PACKET,
           now() - began);
    return 0;
}
