// Load at a fixed rate, and how long each answer took, counted from the moment at which its request was due and not
// from the one at which a slow proxy let it go out. `steady PORT PATH CONNECTIONS RATE SECONDS`.
// Prints, as JSON, the number of answers and their latency in microseconds: p50, p99, p99.9.
#include "loop.h"
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>

enum { BUFFER = 256 << 10 };

struct connection {
    int fd;
    uint64_t asked, due, answered; // of its requests: sent, due by now, complete
    size_t head;                   // bytes of the answer's head that have come, while it is not complete
    size_t body;                   // bytes of its body that are still to come
    char bytes[4096];
};

static struct connection *connections;
static uint64_t begun, rate, count;
static uint32_t *latencies;
static uint64_t done;
static char request[512];

static uint64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static _Noreturn void give_up(const char *why) {
    fprintf(stderr, "steady: %s\n", why);
    exit(1);
}

// When a connection's n-th request is due: requests go round all connections.
static uint64_t due_at(const struct connection *c, uint64_t n) {
    return begun + (n * count + (c - connections)) * 1000000000ull / rate;
}

// Sends the next request if one is due and none is under way.
static void ask(struct connection *c) {
    if (c->asked == c->due || c->asked > c->answered) return;
    size_t length = strlen(request);
    if (send(c->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length) give_up("a request did not go out");
    c->asked++;
}

// Takes what came of an answer; 1 when it is complete.
static int take(struct connection *c, const char *bytes, size_t n) {
    if (!c->body) {
        size_t room = sizeof c->bytes - 1 - c->head, part = n < room ? n : room;
        memcpy(c->bytes + c->head, bytes, part);
        c->bytes[c->head + part] = 0;
        const char *end = strstr(c->bytes, "\r\n\r\n");
        if (!end && part < n) give_up("a head of over 4 KB");
        if (!end) {
            c->head += n;
            return 0;
        }
        const char *length = strcasestr(c->bytes, "\r\ncontent-length:");
        if (strncmp(c->bytes + 8, " 200", 4) || !length || length > end) give_up("not 200 with a Content-Length");
        n -= end + 4 - c->bytes - c->head;
        c->body = strtoul(length + 17, NULL, 10);
        c->head = 0;
    }
    if (n > c->body) give_up("bytes after the end of an answer");
    c->body -= n;
    return !c->body;
}

static void readable(struct connection *c) {
    static char buffer[BUFFER];
    ssize_t n = recv(c->fd, buffer, BUFFER, 0);
    if (n < 0 && errno == EAGAIN) return;
    if (n <= 0) give_up("a connection ended");
    if (c->asked == c->answered) give_up("an answer that nobody asked for");
    if (!take(c, buffer, n)) return;
    latencies[done++] = (now() - due_at(c, c->answered)) / 1000;
    c->answered++;
    ask(c);
}

static int ascending(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

int main(int words_count, char **words) {
    if (words_count != 6) return 2;
    count = strtoul(words[3], NULL, 10);
    rate = strtoul(words[4], NULL, 10);
    uint64_t total = rate * strtod(words[5], NULL);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\n\r\n", words[2], words[1]);
    prctl(PR_SET_TIMERSLACK, 1);
    connections = calloc(count, sizeof *connections);
    latencies = calloc(total, sizeof *latencies);
    int epoll = or_die(epoll_create1(0), "epoll_create1");
    int timer = or_die(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK), "timerfd_create");
    watch(epoll, EPOLL_CTL_ADD, timer, EPOLLIN, NULL);
    for (uint64_t i = 0; i < count; i++) {
        connections[i].fd = or_die(connect_to(words[1]), "connect");
        watch(epoll, EPOLL_CTL_ADD, connections[i].fd, EPOLLIN, &connections[i]);
    }
    begun = now() + 10000000;
    struct epoll_event events[256];
    for (uint64_t due = 0; done < total;) {
        for (; due < total; due++) {
            struct connection *c = &connections[due % count];
            uint64_t at = due_at(c, due / count);
            if (at > now()) {
                struct itimerspec next = {.it_value = {at / 1000000000, at % 1000000000}};
                timerfd_settime(timer, TFD_TIMER_ABSTIME, &next, NULL);
                break;
            }
            c->due++;
            ask(c);
        }
        if (now() > begun + total * 1000000000ull / rate + 15000000000ull) give_up("15 s late: the rate is too high");
        int n = epoll_wait(epoll, events, 256, 1000);
        for (int i = 0; i < n; i++) {
            uint64_t expirations;
            if (events[i].data.ptr) readable(events[i].data.ptr);
            else if (read(timer, &expirations, sizeof expirations) < 0 && errno != EAGAIN) give_up("the timer");
        }
    }
    qsort(latencies, total, sizeof *latencies, ascending);
    printf("{\"answers\": %lu, \"p50\": %u, \"p99\": %u, \"p999\": %u}\n", (unsigned long)total, latencies[total / 2],
           latencies[total * 99 / 100], latencies[total * 999 / 1000]);
}
