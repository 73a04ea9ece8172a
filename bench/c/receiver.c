/* Ten thousand WebSocket clients that only listen, in one thread: the far end of the fan-out benchmark.
 *
 *   receiver HOST PORT COUNT PATH PROTOCOL SUBSCRIBE
 *
 * Connects COUNT sockets (at most 500 handshakes at a time), sends each the text SUBSCRIBE in one frame
 * ("" for none), and prints "ready SECONDS" when all are up. Each message's payload carries "n":NUMBER
 * and "t":NANOSECONDS (CLOCK_MONOTONIC, when it was meant to be sent), numbers from 1 and consecutive for
 * each socket; frames without "n": (answers) are passed over. A line on standard input makes it print one
 * line of JSON with what came since the line before, and "quit" ends it. */
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
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTING, UPGRADING, OPEN };
enum { BUCKETS = 4096, SEQS = 1 << 16, READ = 1 << 18 };

struct peer {
    int fd, state, kept;
    int64_t last;
    char *keep; /* the part of a frame that has come so far */
};

static struct peer *peers;
static char request[2048], subscribe[2048];
static int request_len, subscribe_len, count, opened, in_flight, started;
static struct sockaddr_in target;
static int ep;
static char *buffer;

static uint64_t received, reads, lost, repeated, bytes, closed;
static uint64_t histogram[BUCKETS]; /* 64ths of octaves of microseconds: 1.6 % wide */
static int64_t worst;
static struct { int64_t sent, last; int n; } seqs[SEQS];
static int64_t first_seq = -1, top_seq;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int bucket_of(int64_t us) {
    if (us < 64) return us < 0 ? 0 : (int)us;
    int exp = 63 - __builtin_clzll((uint64_t)us);
    return 64 + (exp - 6) * 64 + (int)((us >> (exp - 6)) & 63);
}

static double bucket_middle(int bucket) {
    if (bucket < 64) return bucket;
    int exp = (bucket - 64) / 64 + 6, part = (bucket - 64) % 64;
    return (double)(1ULL << exp) * (64 + part + 0.5) / 64.0;
}

static int64_t number_after(const char *key, const char *text, int length) {
    const char *at = memmem(text, length, key, 4), *end = text + length;
    if (!at) return -1;
    int64_t value = 0;
    for (at += 4; at < end && *at >= '0' && *at <= '9'; at++) value = value * 10 + (*at - '0');
    return value;
}

static void on_message(struct peer *peer, const char *text, int length, int64_t now) {
    int64_t n = number_after("\"n\":", text, length);
    if (n < 0) return;
    int64_t sent = number_after("\"t\":", text, length);
    received++;
    if (peer->last >= 0) {
        if (n <= peer->last) repeated++;
        else if (n > peer->last + 1) lost += n - peer->last - 1;
    }
    if (n > peer->last) peer->last = n;
    int64_t latency = now - sent;
    if (latency > worst) worst = latency;
    histogram[bucket_of(latency / 1000)]++;
    if (n > top_seq) top_seq = n;
    if (first_seq < 0) first_seq = n;
    int slot = n & (SEQS - 1);
    seqs[slot].sent = sent;
    seqs[slot].last = latency;
    seqs[slot].n++;
}

static void drop(struct peer *peer) {
    close(peer->fd);
    peer->fd = -1;
    if (peer->state == OPEN) closed++; else in_flight--;
}

static void watch(struct peer *peer, int op, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = peer};
    epoll_ctl(ep, op, peer->fd, &event);
}

static void start_one(void) {
    struct peer *peer = &peers[started++];
    int one = 1;
    peer->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (peer->fd < 0) { perror("socket"); exit(1); }
    setsockopt(peer->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    peer->last = -1;
    in_flight++;
    connect(peer->fd, (struct sockaddr *)&target, sizeof target);
    watch(peer, EPOLL_CTL_ADD, EPOLLOUT);
}

/* Walk the whole frames in data; return how many bytes they took. */
static int walk(struct peer *peer, char *data, int size, int64_t now) {
    int at = 0;
    for (;;) {
        if (size - at < 2) return at;
        unsigned char *head = (unsigned char *)data + at;
        uint64_t length = head[1] & 127;
        int header = 2;
        if (length == 126) {
            if (size - at < 4) return at;
            length = head[2] << 8 | head[3];
            header = 4;
        } else if (length == 127) {
            if (size - at < 10) return at;
            length = 0;
            for (int i = 2; i < 10; i++) length = length << 8 | head[i];
            header = 10;
        }
        if ((uint64_t)(size - at - header) < length) return at;
        int opcode = head[0] & 15;
        if (opcode == 1 || opcode == 2) on_message(peer, data + at + header, (int)length, now);
        else if (opcode == 9) {
            unsigned char pong[6] = {0x8a, 0x80, 0, 0, 0, 0};
            if (write(peer->fd, pong, 6) != 6) closed++;
        }
        at += header + (int)length;
    }
}

static void on_data(struct peer *peer) {
    memcpy(buffer, peer->keep, peer->kept);
    ssize_t got = read(peer->fd, buffer + peer->kept, READ);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) return;
        drop(peer);
        return;
    }
    int size = peer->kept + (int)got, used = 0;
    bytes += got;
    reads++;
    if (peer->state == UPGRADING) {
        char *end = memmem(buffer, size, "\r\n\r\n", 4);
        if (!end) goto keep;
        if (memcmp(buffer, "HTTP/1.1 101", 12)) { fprintf(stderr, "refused: %.60s\n", buffer); exit(1); }
        used = (int)(end + 4 - buffer);
        peer->state = OPEN;
        opened++;
        in_flight--;
        if (subscribe_len && write(peer->fd, subscribe, subscribe_len) != subscribe_len) { perror("subscribe"); exit(1); }
    }
    used += walk(peer, buffer + used, size - used, now_ns());
keep:
    if (size - used != peer->kept || used) {
        peer->keep = size == used ? (free(peer->keep), NULL) : realloc(peer->keep, size - used);
    }
    peer->kept = size - used;
    memcpy(peer->keep, buffer + used, peer->kept);
}

static void on_event(struct peer *peer, uint32_t events) {
    if (peer->fd < 0) return;
    if (peer->state == CONNECTING) {
        int error = 0;
        socklen_t size = sizeof error;
        getsockopt(peer->fd, SOL_SOCKET, SO_ERROR, &error, &size);
        if (error || (events & EPOLLERR)) { fprintf(stderr, "connect: %s\n", strerror(error)); exit(1); }
        peer->state = UPGRADING;
        if (write(peer->fd, request, request_len) != request_len) { perror("request"); exit(1); }
        watch(peer, EPOLL_CTL_MOD, EPOLLIN);
    } else on_data(peer);
}

static double percentile(double share) {
    uint64_t want = (uint64_t)(received * share), seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        if ((seen += histogram[i]) > want) return bucket_middle(i) / 1000.0;
    return 0;
}

static void report(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = usage.ru_utime.tv_sec + usage.ru_stime.tv_sec + (usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    double last_sum = 0;
    int complete = 0;
    for (int64_t n = first_seq; n >= 0 && n <= top_seq; n++)
        if (seqs[n & (SEQS - 1)].n == count) { complete++; last_sum += seqs[n & (SEQS - 1)].last / 1e6; }
    int64_t behind = 0;
    for (int i = 0; i < count; i++) if (peers[i].last >= 0 && peers[i].last < top_seq) behind += top_seq - peers[i].last;
    printf("{\"received\":%lu,\"reads\":%lu,\"bytes\":%lu,\"lost\":%lu,\"behind\":%ld,\"repeated\":%lu,\"closed\":%lu,"
           "\"complete\":%d,\"mean_last_ms\":%.3f,\"p50_ms\":%.3f,\"p90_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,"
           "\"max_ms\":%.3f,\"cpu_s\":%.3f}\n",
           received, reads, bytes, lost, behind, repeated, closed, complete, complete ? last_sum / complete : 0.0,
           percentile(.5), percentile(.9), percentile(.99), percentile(.999), worst / 1e6, cpu);
    fflush(stdout);
    received = reads = bytes = lost = repeated = 0;
    worst = 0;
    memset(histogram, 0, sizeof histogram);
    memset(seqs, 0, sizeof seqs);
    first_seq = -1;
}

static int masked_frame(char *out, const char *text) {
    int length = (int)strlen(text), header = length < 126 ? 2 : 4;
    out[0] = (char)0x81;
    if (length < 126) out[1] = (char)(0x80 | length);
    else { out[1] = (char)(0x80 | 126); out[2] = (char)(length >> 8); out[3] = (char)length; }
    memset(out + header, 0, 4); /* a mask of zeros leaves the text as it is */
    memcpy(out + header + 4, text, length);
    return header + 4 + length;
}

int main(int argc, char **argv) {
    if (argc != 7) { fprintf(stderr, "usage: receiver HOST PORT COUNT PATH PROTOCOL SUBSCRIBE\n"); return 2; }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    count = atoi(argv[3]);
    peers = calloc(count, sizeof *peers);
    buffer = malloc(READ * 2 + (1 << 20));
    target.sin_family = AF_INET;
    target.sin_port = htons(atoi(argv[2]));
    inet_pton(AF_INET, argv[1], &target.sin_addr);
    char protocol[128] = "";
    if (*argv[5]) snprintf(protocol, sizeof protocol, "Sec-WebSocket-Protocol: %s\r\n", argv[5]);
    request_len = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: %s:%s\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s\r\n",
        argv[4], argv[1], argv[2], protocol, getenv("EXTRA_HEADERS") ? getenv("EXTRA_HEADERS") : "");
    if (*argv[6]) subscribe_len = masked_frame(subscribe, argv[6]);
    ep = epoll_create1(0);
    struct epoll_event input = {.events = EPOLLIN, .data.ptr = NULL}, events[1024];
    epoll_ctl(ep, EPOLL_CTL_ADD, 0, &input);
    int64_t begin = now_ns();
    int announced = 0;
    int most = getenv("AT_ONCE") ? atoi(getenv("AT_ONCE")) : 500;
    for (;;) {
        while (started < count && in_flight < most) start_one();
        if (opened == count && !announced) {
            announced = 1;
            printf("ready %.3f\n", (now_ns() - begin) / 1e9);
            fflush(stdout);
        }
        int due = epoll_wait(ep, events, 1024, -1);
        for (int i = 0; i < due; i++) {
            if (events[i].data.ptr) { on_event(events[i].data.ptr, events[i].events); continue; }
            char line[64];
            ssize_t got = read(0, line, sizeof line);
            if (got <= 0 || !strncmp(line, "quit", 4)) return 0;
            report();
        }
    }
}
