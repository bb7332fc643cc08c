// An origin that costs almost nothing: one thread, answers rendered beforehand. `origin PORT`.
// /1k, /64k, /10m, /chunked (64 KB in chunks of 8 KB), /read (answers once it has read the request's body).
// Only for well-behaved requests: one at a time, a head of at most 16 KB, a body with a Content-Length. Others are cut.
#include "loop.h"

enum { HEAD = 16 << 10, CHUNK = 8 << 10 };

struct answer {
    const char *path;
    size_t size;
    char *bytes;
};

struct connection {
    int fd;
    int closes;             // the request said so
    size_t have;            // bytes in `head`
    size_t body;            // bytes of the request's body that are still to come
    struct answer *answer;  // being written, or to be once the body is in
    size_t written;
    char head[HEAD];
};

static struct answer answers[] = {
    {"/1k", 1 << 10, 0}, {"/64k", 64 << 10, 0}, {"/10m", 10 << 20, 0}, {"/chunked", 64 << 10, 0}, {"/read", 2, 0},
};
static const size_t kinds = sizeof answers / sizeof *answers;
static int epoll;

static void render(struct answer *answer) {
    size_t room = answer->size + answer->size / CHUNK * 16 + 256, chunks = answer->size / CHUNK;
    char *out = answer->bytes = malloc(room);
    out += sprintf(out, "HTTP/1.1 200 OK\r\nServer: origin\r\nContent-Type: text/plain\r\n");
    if (strcmp(answer->path, "/chunked")) {
        out += sprintf(out, "Content-Length: %zu\r\n\r\n", answer->size);
        memset(out, 'x', answer->size);
        out += answer->size;
    } else {
        out += sprintf(out, "Transfer-Encoding: chunked\r\n\r\n");
        for (; chunks; chunks--) {
            out += sprintf(out, "%x\r\n", CHUNK);
            memset(out, 'x', CHUNK);
            out += CHUNK;
            out += sprintf(out, "\r\n");
        }
        out += sprintf(out, "0\r\n\r\n");
    }
    answer->size = out - answer->bytes;
}

static void end(struct connection *c) {
    close(c->fd);
    free(c);
}

// Reads the complete head at the start of `c->head`; 0 if it makes no sense.
static int understand(struct connection *c, const char *head_end) {
    c->answer = NULL;
    const char *path = memchr(c->head, ' ', c->have);
    for (size_t i = 0; path && i < kinds; i++) {
        size_t length = strlen(answers[i].path);
        if (!strncmp(path + 1, answers[i].path, length) && path[1 + length] == ' ') c->answer = &answers[i];
    }
    const char *length = strcasestr(c->head, "\r\ncontent-length:");
    const char *closes = strcasestr(c->head, "\r\nconnection: close");
    c->body = length ? strtoul(length + 17, NULL, 10) : 0;
    c->closes = closes != NULL;
    size_t after = c->head + c->have - head_end;
    if (after > c->body) return 0;
    c->body -= after;
    c->written = 0;
    return c->answer && !strcasestr(c->head, "\r\ntransfer-encoding:");
}

// Goes on writing; 0 when the connection is over.
static int write_answer(struct connection *c) {
    while (c->written < c->answer->size) {
        ssize_t n = send(c->fd, c->answer->bytes + c->written, c->answer->size - c->written, MSG_NOSIGNAL);
        if (n < 0 && errno == EAGAIN) {
            watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLOUT, c);
            return 1;
        }
        if (n < 0) return 0;
        c->written += n;
    }
    c->answer = NULL;
    c->have = 0;
    return !c->closes;
}

static int readable(struct connection *c) {
    static char body[64 << 10];
    int in_body = c->answer != NULL;
    ssize_t n = in_body ? recv(c->fd, body, sizeof body, 0) : recv(c->fd, c->head + c->have, HEAD - 1 - c->have, 0);
    if (n < 0 && errno == EAGAIN) return 1;
    if (n <= 0) return 0;
    if (in_body) {
        if ((size_t)n > c->body) return 0;
        c->body -= n;
    } else {
        c->have += n;
        c->head[c->have] = 0;
        const char *head_end = strstr(c->head, "\r\n\r\n");
        if (!head_end) return c->have < HEAD - 1;
        if (!understand(c, head_end + 4)) return 0;
    }
    return c->body || write_answer(c);
}

int main(int count, char **words) {
    if (count != 2) return 2;
    for (size_t i = 0; i < kinds; i++) render(&answers[i]);
    int listener = listen_on(words[1]);
    epoll = or_die(epoll_create1(0), "epoll_create1");
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, NULL);
    struct epoll_event events[256];
    for (;;) {
        int n = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < n; i++) {
            struct connection *c = events[i].data.ptr;
            if (!c) {
                for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
                    c = calloc(1, sizeof *c);
                    c->fd = fd;
                    watch(epoll, EPOLL_CTL_ADD, fd, EPOLLIN, c);
                }
            } else if (events[i].events & EPOLLOUT) {
                if (!write_answer(c)) end(c);
                else if (!c->answer) watch(epoll, EPOLL_CTL_MOD, c->fd, EPOLLIN, c);
            } else if (!readable(c)) {
                end(c);
            }
        }
    }
}
