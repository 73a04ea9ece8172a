/* The floor of the fan-out benchmark: a WebSocket server that does nothing but send() one prepared frame
 * to each of its sockets, in C, in one thread.
 *
 *   sender PORT
 *
 * Every connection to PORT is upgraded and kept. Each datagram that comes to the UDP port of the same
 * number is broadcast as one text frame to all. "ready" is printed when it listens. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

/* The answer to the one key that the receiver sends (RFC 6455, section 1.3). */
static const char answer[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                             "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
static int clients[65536], open_count;
static char upgraded[65536];

int main(int argc, char **argv) {
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(argc > 1 ? atoi(argv[1]) : 0)};
    inet_pton(AF_INET, "127.0.0.1", &address.sin_addr);
    int one = 1, size = 32768, ep = epoll_create1(0);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), control = socket(AF_INET, SOCK_DGRAM, 0);
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (bind(listener, (void *)&address, sizeof address) || listen(listener, 4096) ||
        bind(control, (void *)&address, sizeof address)) { perror("bind"); return 1; }
    struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[1024];
    epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event);
    event.data.fd = control;
    epoll_ctl(ep, EPOLL_CTL_ADD, control, &event);
    puts("ready");
    fflush(stdout);
    static char frame[65536], input[65536];
    for (;;) {
        int due = epoll_wait(ep, events, 1024, -1);
        for (int i = 0; i < due; i++) {
            int fd = events[i].data.fd;
            if (fd == listener) {
                int client;
                while ((client = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    event.data.fd = client;
                    epoll_ctl(ep, EPOLL_CTL_ADD, client, &event);
                    upgraded[client] = 0;
                    clients[open_count++] = client;
                }
            } else if (fd == control) {
                ssize_t length = recv(control, frame + 4, sizeof frame - 4, 0);
                char *start = frame;
                if (length < 126) { start = frame + 2; start[1] = (char)length; }
                else { start[1] = 126; start[2] = (char)(length >> 8); start[3] = (char)length; }
                start[0] = (char)0x81;
                ssize_t whole = frame + 4 + length - start;
                for (int c = 0; c < open_count; c++)
                    if (send(clients[c], start, whole, MSG_NOSIGNAL) != whole) fprintf(stderr, "short send\n");
            } else {
                ssize_t got = read(fd, input, sizeof input);
                if (got <= 0) {
                    close(fd);
                    for (int c = 0; c < open_count; c++)
                        if (clients[c] == fd) { clients[c] = clients[--open_count]; break; }
                } else if (!upgraded[fd]) {
                    upgraded[fd] = 1;
                    if (write(fd, answer, sizeof answer - 1) < 0) perror("write");
                }
            }
        }
    }
}
