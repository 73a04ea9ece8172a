/* Distance: a proxy whose other side is a round trip of so many milliseconds away.
 *
 *   delay PORT TO MS
 *
 * Listens on 127.0.0.1:PORT and connects to 127.0.0.1:TO. A connection is there one round trip (MS) after it was
 * made, and what a client sends arrives MS later; what comes back is passed on at once, by splice(2). So an answer
 * takes one round trip, and the first of a connection two. Prints "ready" when it listens. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { EVENTS = 256, REQUEST = 1 << 16, PIPE = 1 << 20 };

struct pair;
struct end { struct pair *pair; int fd, is_server; };
struct pair {
    struct end client, server;
    int pipe[2], waiting, references, closed, ended;
    size_t piped; /* bytes in the pipe */
};
/* What arrives later, in the order of its time: a new connection where there is no data. */
struct later { struct later *next; int64_t due; struct pair *pair; size_t size; char data[]; };

static int ep, to_port;
static int64_t delay_ns;
static struct later *first, **last = &first;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void fail(const char *what) { perror(what); exit(1); }

static void *allocated(size_t size) {
    void *memory = calloc(1, size);
    if (!memory) fail("calloc");
    return memory;
}

static struct sockaddr_in at(int port) {
    return (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void watch(int op, struct end *end, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = end};
    if (end->fd >= 0 && epoll_ctl(ep, op, end->fd, &event)) fail("epoll_ctl");
}

static void later(struct pair *pair, const char *data, size_t size) {
    struct later *one = allocated(sizeof *one + size);
    *one = (struct later){.due = now_ns() + delay_ns, .pair = pair, .size = size};
    if (size) memcpy(one->data, data, size);
    *last = one;
    last = &one->next;
    pair->references++;
}

static void release(struct pair *pair) {
    if (--pair->references == 0) free(pair);
}

static void close_pair(struct pair *pair) {
    if (pair->closed) return;
    pair->closed = 1;
    close(pair->client.fd);
    if (pair->server.fd >= 0) close(pair->server.fd);
    close(pair->pipe[0]);
    close(pair->pipe[1]);
    /* Other events of this turn may name it: it goes later. */
    later(pair, NULL, 0);
    release(pair);
}

static void accept_all(int listener) {
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
        struct pair *pair = allocated(sizeof *pair);
        pair->client = (struct end){pair, fd, 0};
        pair->server = (struct end){pair, -1, 1};
        if (pipe2(pair->pipe, O_NONBLOCK)) fail("pipe2");
        fcntl(pair->pipe[1], F_SETPIPE_SZ, PIPE); /* where it may not be so large, it is smaller */
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        pair->references = 1;
        later(pair, NULL, 0);
    }
}

static void connect_server(struct pair *pair) {
    int one = 1;
    struct sockaddr_in target = at(to_port);
    pair->server.fd = socket(AF_INET, SOCK_STREAM, 0);
    /* On loopback it is there at once. */
    if (pair->server.fd < 0 || connect(pair->server.fd, (struct sockaddr *)&target, sizeof target)) fail("connect");
    fcntl(pair->server.fd, F_SETFL, O_NONBLOCK);
    setsockopt(pair->server.fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    watch(EPOLL_CTL_ADD, &pair->server, EPOLLIN);
    watch(EPOLL_CTL_ADD, &pair->client, EPOLLIN);
}

static void arrive(struct later *one) {
    struct pair *pair = one->pair;
    if (pair->closed) return;
    if (!one->size) connect_server(pair);
    else if (send(pair->server.fd, one->data, one->size, MSG_NOSIGNAL) != (ssize_t)one->size) close_pair(pair);
}

static void from_client(struct pair *pair) {
    static char data[REQUEST];
    ssize_t size = recv(pair->client.fd, data, sizeof data, 0);
    if (size > 0) later(pair, data, size);
    else if (size == 0 || errno != EAGAIN) close_pair(pair);
}

/* Pass on what there is, and wait for the slower end. */
static void pass_on(struct pair *pair) {
    for (;;) {
        ssize_t got = -1, put = -1;
        if (!pair->ended) {
            got = splice(pair->server.fd, NULL, pair->pipe[1], NULL, PIPE, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
            if (got > 0) pair->piped += got;
            else if (got == 0) pair->ended = 1;
            else if (errno != EAGAIN) { close_pair(pair); return; }
        }
        if (pair->piped) {
            put = splice(pair->pipe[0], NULL, pair->client.fd, NULL, pair->piped, SPLICE_F_NONBLOCK | SPLICE_F_MOVE);
            if (put > 0) pair->piped -= put;
            else if (put < 0 && errno != EAGAIN) { close_pair(pair); return; }
        }
        if (pair->ended && !pair->piped) { close_pair(pair); return; }
        if (got <= 0 && put <= 0) break;
    }
    int waiting = pair->piped > 0;
    if (waiting != pair->waiting) {
        pair->waiting = waiting;
        watch(EPOLL_CTL_MOD, &pair->client, waiting ? EPOLLIN | EPOLLOUT : EPOLLIN);
        watch(EPOLL_CTL_MOD, &pair->server, waiting ? 0 : EPOLLIN);
    }
}

static int until_next(void) {
    if (!first) return -1;
    int64_t left = first->due - now_ns();
    return left <= 0 ? 0 : (int)((left + 999999) / 1000000);
}

static void arrive_all(void) {
    int64_t now = now_ns();
    while (first && first->due <= now) {
        struct later *one = first;
        first = one->next;
        if (!first) last = &first;
        arrive(one);
        release(one->pair);
        free(one);
    }
}

static void handle(struct epoll_event *event) {
    struct end *end = event->data.ptr;
    if (end->pair->closed) return;
    if (end->is_server || (event->events & EPOLLOUT)) pass_on(end->pair);
    else from_client(end->pair);
}

int main(int argc, char **argv) {
    if (argc != 4) { fprintf(stderr, "usage: delay PORT TO MS\n"); return 2; }
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
    struct sockaddr_in here = at(atoi(argv[1]));
    to_port = atoi(argv[2]);
    delay_ns = (int64_t)(atof(argv[3]) * 1e6);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(listener, (struct sockaddr *)&here, sizeof here) || listen(listener, 4096)) fail("listen");
    ep = epoll_create1(0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = NULL}, events[EVENTS];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
    printf("ready\n");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(ep, events, EVENTS, until_next());
        if (count < 0 && errno != EINTR) fail("epoll_wait");
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr) handle(&events[i]);
            else accept_all(listener);
        }
        arrive_all();
    }
}
