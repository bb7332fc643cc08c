// The floor: a TCP relay that understands nothing. One thread, one upstream connection for each client's.
// `relay PORT UPSTREAM_PORT`.
#include "loop.h"

enum { BUFFER = 64 << 10 };

struct pair;

struct side {
    struct pair *pair;
    struct side *other;
    int fd;
    char *rest;  // what the other side sent and this one has not taken yet
    size_t from, to;
};

struct pair {
    struct side client, upstream;
    int over;
    struct pair *next;
};

static int epoll;
static struct pair *ended; // freed after the round of events that may still name them

static void end(struct pair *pair) {
    if (pair->over) return;
    pair->over = 1;
    close(pair->client.fd);
    close(pair->upstream.fd);
    pair->next = ended;
    ended = pair;
}

// Bytes have come from `side`: to the other, and what it does not take waits, and so does `side`.
static int forward(struct side *side) {
    static char buffer[BUFFER];
    ssize_t n = recv(side->fd, buffer, BUFFER, 0);
    if (n < 0) return errno == EAGAIN;
    if (n == 0) return 0;
    struct side *other = side->other;
    ssize_t taken = send(other->fd, buffer, n, MSG_NOSIGNAL);
    if (taken < 0 && errno != EAGAIN) return 0;
    if (taken < 0) taken = 0;
    if (taken == n) return 1;
    if (!other->rest) other->rest = malloc(BUFFER);
    memcpy(other->rest, buffer + taken, n - taken);
    other->from = 0;
    other->to = n - taken;
    watch(epoll, EPOLL_CTL_MOD, other->fd, EPOLLOUT, other);
    watch(epoll, EPOLL_CTL_MOD, side->fd, 0, side);
    return 1;
}

// `side` has room again.
static int catch_up(struct side *side) {
    ssize_t taken = send(side->fd, side->rest + side->from, side->to - side->from, MSG_NOSIGNAL);
    if (taken < 0) return errno == EAGAIN;
    side->from += taken;
    if (side->from < side->to) return 1;
    watch(epoll, EPOLL_CTL_MOD, side->fd, EPOLLIN, side);
    watch(epoll, EPOLL_CTL_MOD, side->other->fd, EPOLLIN, side->other);
    return 1;
}

static void begin(int fd, const char *upstream_port) {
    int upstream = connect_to(upstream_port);
    if (upstream < 0) {
        close(fd);
        return;
    }
    struct pair *pair = calloc(1, sizeof *pair);
    pair->client = (struct side){.pair = pair, .other = &pair->upstream, .fd = fd};
    pair->upstream = (struct side){.pair = pair, .other = &pair->client, .fd = upstream};
    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, &pair->client);
    watch(epoll, EPOLL_CTL_ADD, upstream, EPOLLIN, &pair->upstream);
}

int main(int count, char **words) {
    if (count != 3) return 2;
    int listener = listen_on(words[1]);
    epoll = or_die(epoll_create1(0), "epoll_create1");
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct side *side = events[i].data.ptr;
            if (!side) {
                for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) begin(fd, words[2]);
            } else if (!side->pair->over) {
                int goes_on = events[i].events & EPOLLOUT  ? catch_up(side)
                              : events[i].events & EPOLLIN ? forward(side)
                                                           : 0; // EPOLLHUP, EPOLLERR
                if (!goes_on) end(side->pair);
            }
        }
        for (struct pair *pair; (pair = ended);) {
            ended = pair->next;
            free(pair->client.rest);
            free(pair->upstream.rest);
            free(pair);
        }
    }
}
