// What origin.c, relay.c and steady.c share: sockets on 127.0.0.1 and the end of the program.
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

static int or_die(int result, const char *what) {
    if (result < 0) {
        perror(what);
        exit(1);
    }
    return result;
}

static struct sockaddr_in loopback(const char *port) {
    return (struct sockaddr_in){
        .sin_family = AF_INET, .sin_port = htons(atoi(port)), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void no_delay(int fd) { setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)); }

static inline int listen_on(const char *port) {
    int fd = or_die(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
    no_delay(fd); // inherited by what is accepted
    struct sockaddr_in address = loopback(port);
    or_die(bind(fd, (struct sockaddr *)&address, sizeof address), "bind");
    or_die(listen(fd, 4096), "listen");
    return fd;
}

// Connects (on loopback that takes no time), then makes the socket non-blocking. -1 when nobody listens.
static inline int connect_to(const char *port) {
    int fd = or_die(socket(AF_INET, SOCK_STREAM, 0), "socket");
    struct sockaddr_in address = loopback(port);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        close(fd);
        return -1;
    }
    no_delay(fd);
    or_die(fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
    return fd;
}

static void watch(int epoll, int operation, int fd, uint32_t events, void *data) {
    struct epoll_event event = {.events = events, .data.ptr = data};
    or_die(epoll_ctl(epoll, operation, fd, &event), "epoll_ctl");
}
