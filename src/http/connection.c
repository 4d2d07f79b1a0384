#include "front.h"
#include "log.h"
#include "record.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

enum {
    LOOK_MS = 1000, /* for a first head on a Unix socket: see waiting_go_on() */
    ACCEPT_BATCH = 64,
    ACCEPT_PAUSE_MS = 100,   /* when there are no descriptors left */
    LINGER_MS = 3000,        /* a refused request's rest is read and dropped for so long … */
    LINGER_BYTES = 64 << 20, /* … and so much … */
    LINGER_MOST = 256,       /* … on so many connections */
};

/* ---- phases and their deadlines ---- */

static void queue_take(struct queue *queue, struct connection *connection)
{
    struct connection *older = connection->older, *newer = connection->newer;
    *(older ? &older->newer : &queue->oldest) = newer;
    *(newer ? &newer->older : &queue->newest) = older;
    connection->older = connection->newer = NULL;
}

static void queue_append(struct queue *queue, struct connection *connection)
{
    connection->older = queue->newest;
    connection->newer = NULL;
    *(queue->newest ? &queue->newest->newer : &queue->oldest) = connection;
    queue->newest = connection;
}

void connection_phase(struct connection *connection, enum phase phase)
{
    struct front *front = connection->front;
    /* Nothing brings it back: libmicrohttpd may still find a request in what had come before. */
    if (connection->phase == PHASE_CLOSING)
        return;
    queue_take(&front->queues[connection->phase], connection);
    if (phase == PHASE_CLOSING)
        front->closing++;
    connection->phase = phase;
    connection->since_ms = front->now_ms;
    queue_append(&front->queues[phase], connection);
}

static void waiting_end(struct connection *connection, bool linger);

/* libmicrohttpd sees the hang-up and cleans up; before it has the connection, we do. */
static void connection_shut(struct connection *connection)
{
    if (!connection->mhd) {
        waiting_end(connection, false);
        return;
    }
    shutdown(connection->fd, SHUT_RDWR);
    connection_phase(connection, PHASE_CLOSING);
}

static void send_raw(int fd, unsigned http, const char *content_type, const struct buffer *body, bool head_only)
{
    char head[512], date[40];
    char id[REQUEST_ID_BYTES + 1];
    access_name(id, NULL);
    time_t now = time(NULL);
    struct tm utc;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime_r(&now, &utc));
    int length =
        snprintf(head, sizeof head,
                 "HTTP/1.1 %u %s\r\nDate: %s\r\nConnection: close\r\nContent-Type: %s\r\n"
                 "X-Content-Type-Options: nosniff\r\n%s" REQUEST_ID_HEADER ": %s\r\nContent-Length: %zu\r\n\r\n",
                 http, MHD_get_reason_phrase_for(http), date, content_type,
                 http == MHD_HTTP_SERVICE_UNAVAILABLE ? "Retry-After: 1\r\n" : "", id, body->length);
    struct iovec parts[2] = {{head, (size_t)length}, {body->bytes, head_only ? 0 : body->length}};
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = 2};
    /* Best effort: it is the last word on this connection, and libmicrohttpd has begun none. */
    if (!body->failed && sendmsg(fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        return;
}

void connection_refuse(struct connection *connection, unsigned http, const char *text)
{
    struct buffer body = {0};
    const char *title = MHD_get_reason_phrase_for(http);
    bool problem = connection->exchange.problem;
    metrics_answer(&connection->front->metrics, connection->exchange.route, http);
    if (problem)
        problem_body(http, title, text, &body);
    else
        error_body(text, &body);
    send_raw(connection->fd, http, problem ? "application/problem+json" : "application/json", &body,
             connection->exchange.head_only);
    buffer_free(&body);
    if (connection->mhd)
        connection_shut(connection);
    else
        waiting_end(connection, true);
}

static void too_slow(struct connection *connection)
{
    char text[96], time[40];
    snprintf(text, sizeof text, "the request was not whole within %s",
             limit_text(LIMIT_WALL, connection->front->setup.body_timeout_ms, time, sizeof time));
    connection_refuse(connection, MHD_HTTP_REQUEST_TIMEOUT, text);
}

static uint64_t phase_timeout(const struct front *front, enum phase phase)
{
    switch (phase) {
    case PHASE_IDLE:
        return front->setup.idle_timeout_ms;
    case PHASE_LOOKING:
        return front->setup.body_timeout_ms / 2 < LOOK_MS ? front->setup.body_timeout_ms / 2 : LOOK_MS;
    case PHASE_READING:
    case PHASE_SENDING:
        return front->setup.body_timeout_ms;
    case PHASE_SILENT:
        return front->setup.heartbeat_ms;
    case PHASE_WORKING:
    case PHASE_CLOSING:
    case PHASE_COUNT:
        break;
    }
    return 0;
}

static void sooner(int *wait_ms, uint64_t now_ms, uint64_t then_ms)
{
    uint64_t left = then_ms > now_ms ? then_ms - now_ms : 0;
    int wait = left > 60000 ? 60000 : (int)left;
    if (*wait_ms < 0 || wait < *wait_ms)
        *wait_ms = wait;
}

/* ---- lingering: what a refused client still sends is read for a while, or the kernel's reset would take our answer
 * from it before it has read it ---- */

struct lingerer {
    struct watch watch;
    struct lingerer *next;
    int fd;
    uint64_t until_ms;
    size_t bytes;
};

static void linger_end(struct front *front, struct lingerer *linger)
{
    struct lingerer **at = &front->lingering;
    while (*at != linger)
        at = &(*at)->next;
    *at = linger->next;
    front->lingering_count--;
    drop_fd(&linger->fd);
    front_bury(front, &linger->watch);
}

static void linger_ready(struct front *front, struct watch *watch, uint32_t events)
{
    struct lingerer *linger = (struct lingerer *)watch;
    static char dropped[64 * 1024];
    (void)events;
    ssize_t length = recv(linger->fd, dropped, sizeof dropped, MSG_DONTWAIT);
    if (length > 0)
        linger->bytes += (size_t)length;
    if (length == 0 || (length < 0 && errno != EAGAIN && errno != EINTR) || linger->bytes > LINGER_BYTES)
        linger_end(front, linger);
}

static void linger_start(struct front *front, int fd)
{
    struct lingerer *linger = front->lingering_count < LINGER_MOST ? calloc(1, sizeof *linger) : NULL;
    if (!linger)
        return;
    linger->fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    linger->watch.ready = linger_ready;
    linger->until_ms = front->now_ms + LINGER_MS;
    if (linger->fd < 0 || front_watch(front, linger->fd, &linger->watch, EPOLLIN | EPOLLRDHUP)) {
        drop_fd(&linger->fd);
        free(linger);
        return;
    }
    shutdown(linger->fd, SHUT_WR);
    linger->next = front->lingering;
    front->lingering = linger;
    front->lingering_count++;
}

/* ---- connections ---- */

static void connection_hung_up(struct front *front, struct watch *watch, uint32_t events)
{
    struct connection *connection = (struct connection *)watch;
    (void)events;
    connection->gone = true;
    exchange_hung_up(front, connection);
    connection_reap(connection);
}

void connection_reap(struct connection *connection)
{
    struct front *front = connection->front;
    if (connection->reaped)
        return;
    connection->reaped = true;
    connection->next_reaped = front->reaped;
    front->reaped = connection;
}

void connections_reap(struct front *front)
{
    for (struct connection *connection; (connection = front->reaped);) {
        char byte;
        front->reaped = connection->next_reaped;
        connection->reaped = false;
        if ((connection->phase == PHASE_IDLE || connection->phase == PHASE_READING) && connection->fd >= 0 &&
            recv(connection->fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
            connection_shut(connection);
    }
}

/* libmicrohttpd closes the socket right after this. */
static void connection_closed(struct front *front, struct connection *connection)
{
    bool ours_to_end = !connection->gone && connection->phase != PHASE_CLOSING;
    exchange_end(front, connection);
    queue_take(&front->queues[connection->phase], connection);
    front->connections--;
    if (connection->phase == PHASE_CLOSING)
        front->closing--;
    if (ours_to_end && !connection->whole) {
        /* Its duplicate keeps the socket open, so closing will not take it out of our epoll. */
        epoll_ctl(front->epoll, EPOLL_CTL_DEL, connection->fd, NULL);
        linger_start(front, connection->fd);
    }
    connection->fd = -1;
    front_bury(front, &connection->watch);
}

void connection_notify(void *context, struct MHD_Connection *mhd, void **socket_context,
                       enum MHD_ConnectionNotificationCode code)
{
    struct front *front = context;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        front->admitted->mhd = mhd;
        *socket_context = take(front->admitted);
    } else if (*socket_context) {
        connection_closed(front, take(*socket_context));
    }
}

/* ---- waiting: a connection before the whole of its first head ---- */

/* Leaves the queues; the memory stays until the end of this batch of events. */
static void waiting_forget(struct connection *connection)
{
    queue_take(&connection->front->queues[connection->phase], connection);
    connection->front->connections--;
    connection->fd = -1;
    front_bury(connection->front, &connection->watch);
}

static void waiting_end(struct connection *connection, bool linger)
{
    auto_fd int fd = connection->fd;
    if (linger) {
        epoll_ctl(connection->front->epoll, EPOLL_CTL_DEL, fd, NULL); /* as in connection_closed() */
        linger_start(connection->front, fd);
    }
    waiting_forget(connection);
}

static int waiting_watch(struct connection *connection, uint32_t events)
{
    struct epoll_event event = {.events = events | EPOLLRDHUP | EPOLLET, .data.ptr = &connection->watch};
    int operation = connection->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
    connection->watched = true;
    return epoll_ctl(connection->front->epoll, operation, connection->fd, &event);
}

/* The head is whole and fine: libmicrohttpd reads it again. */
static void waiting_admit(struct connection *connection)
{
    static const int whole = -1;
    struct front *front = connection->front;
    /* libmicrohttpd keeps an address, and needs none; 1.0 wants one as long as its family's. */
    struct sockaddr_in6 nobody = {.sin6_family = (sa_family_t)connection->family};
    if (connection->peek_moves)
        setsockopt(connection->fd, SOL_SOCKET, SO_PEEK_OFF, &whole, sizeof whole);
    connection->watch.ready = connection_hung_up;
    if (waiting_watch(connection, 0)) {
        waiting_end(connection, false);
        return;
    }
    front->run_mhd = true;
    front->admitted = connection;
    MHD_add_connection(front->daemon, connection->fd, (struct sockaddr *)&nobody, sizeof nobody);
    /* It closes what it cannot add. If it told connection_notify() of it before, then of its end as well. */
    if (take(front->admitted))
        waiting_forget(connection);
}

/* We have looked for long enough; its time to be whole runs from where it did. */
static void waiting_read(struct connection *connection)
{
    uint64_t since_ms = connection->since_ms;
    connection_phase(connection, PHASE_READING);
    connection->since_ms = since_ms;
    waiting_admit(connection);
}

/* A head that comes in pieces, of which nothing is taken from the socket. Looking at all of it again for each would
 * cost its square: the socket moves on by itself where it can (Unix sockets; TCP since Linux 6.9), and elsewhere what
 * was seen is copied again, but not read. On a Unix socket each piece, however short, also holds some of its sender's
 * buffer, which is full after about 270, and nothing tells us so: a head that is not whole within LOOK_MS is
 * libmicrohttpd's to read, and what it lets pass is head.c's to judge. */
static void waiting_go_on(struct connection *connection)
{
    int seen = (int)connection->peek.length;
    if (connection->phase == PHASE_IDLE && seen > 0) {
        connection->peek_moves = setsockopt(connection->fd, SOL_SOCKET, SO_PEEK_OFF, &seen, sizeof seen) == 0;
        connection_phase(connection, connection->family == AF_UNIX ? PHASE_LOOKING : PHASE_READING);
    }
    if (!connection->watched && waiting_watch(connection, EPOLLIN))
        waiting_end(connection, false);
}

/* Edges only: a head that is not whole stays in the socket, which is readable all the while. */
static void waiting_look(struct connection *connection, bool ended)
{
    static uint8_t bytes[HEAD_BYTES + 1]; /* the one byte more is what refuses it */
    struct peek *peek = &connection->peek;
    size_t seen = connection->peek_moves ? 0 : peek->length;
    ssize_t length = recv(connection->fd, bytes, sizeof bytes, MSG_PEEK | MSG_DONTWAIT);
    enum peek_verdict verdict = PEEK_INCOMPLETE;
    bool broken = length < 0 && errno != EAGAIN;
    ended |= length == 0;
    if (length > 0 && (size_t)length > seen) {
        verdict = peek_feed(peek, (struct span){bytes + seen, (size_t)length - seen});
        connection->exchange.problem = peek->problem;
        connection->exchange.head_only = peek->head_only;
    }
    if (verdict == PEEK_FINE)
        waiting_admit(connection);
    else if (verdict == PEEK_REFUSE)
        connection_refuse(connection, peek->http, peek->text);
    else if (broken || (ended && peek->length == 0))
        waiting_end(connection, false);
    else if (ended)
        connection_refuse(connection, MHD_HTTP_BAD_REQUEST, "malformed request: it ends within its head");
    else
        waiting_go_on(connection);
}

static void waiting_ready(struct front *front, struct watch *watch, uint32_t events)
{
    (void)front;
    waiting_look((struct connection *)watch, events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR));
}

/* ---- the listening sockets ---- */

/* Room for one more: the longest idle goes, or else whoever has been sending a request for the longest. */
static bool make_room(struct front *front)
{
    static const enum phase order[] = {PHASE_IDLE, PHASE_READING, PHASE_LOOKING};
    for (size_t i = 0; i < COUNT(order); i++) {
        struct connection *oldest = front->queues[order[i]].oldest;
        if (oldest) {
            connection_shut(oldest);
            return true;
        }
    }
    return false;
}

static void refuse_connection(struct front *front, int fd)
{
    struct buffer body = {0};
    error_body("too many connections: try again in 1 s", &body);
    send_raw(fd, MHD_HTTP_SERVICE_UNAVAILABLE, "application/json", &body, false);
    buffer_free(&body);
    linger_start(front, fd); /* its request may be there already */
    close(fd);
}

/* The owner that an address stands for. Who has an IPv6 address has 2^64 of them. */
static uint32_t owner_of(const struct front *front, const struct sockaddr_storage *address)
{
    uint64_t number = 0;
    if (address->ss_family == AF_INET) {
        number = ((const struct sockaddr_in *)address)->sin_addr.s_addr;
    } else if (address->ss_family == AF_INET6) {
        const struct in6_addr *six = &((const struct sockaddr_in6 *)address)->sin6_addr;
        bool mapped = IN6_IS_ADDR_V4MAPPED(six);
        memcpy(&number, six->s6_addr + (mapped ? 12 : 0), mapped ? 4 : 8);
    }
    number = (number ^ front->owner_seed) * UINT64_C(0xbf58476d1ce4e5b9);
    number = (number ^ number >> 31) * UINT64_C(0x94d049bb133111eb);
    return (uint32_t)(number >> 32) % OWNERS;
}

static void welcome(struct front *front, const struct listener *listener, int fd, uint32_t owner)
{
    struct connection *connection;
    front->metrics.accepted++;
    if (front->connections - front->closing >= front->setup.max_connections && !make_room(front)) {
        metrics_answer(&front->metrics, NULL, MHD_HTTP_SERVICE_UNAVAILABLE);
        refuse_connection(front, fd);
        return;
    }
    if (!(connection = calloc(1, sizeof *connection))) {
        close(fd);
        return;
    }
    connection->watch.ready = waiting_ready;
    connection->front = front;
    connection->fd = fd;
    connection->family = listener->family;
    connection->owner = owner;
    connection->since_ms = front->now_ms;
    queue_append(&front->queues[PHASE_IDLE], connection);
    front->connections++;
    waiting_look(connection, false); /* often the head is there already */
}

void listeners_watch(struct front *front, uint32_t events)
{
    for (size_t i = 0; i < front->listener_count; i++) {
        struct epoll_event event = {.events = events, .data.ptr = &front->listeners[i].watch};
        epoll_ctl(front->epoll, EPOLL_CTL_MOD, front->listeners[i].fd, &event);
    }
}

void connection_accept(struct front *front, struct watch *watch, uint32_t events)
{
    struct listener *listener = (struct listener *)watch;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        int fd = accept4(listener->fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(front, listener, fd, owner_of(front, &address));
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_event(LOG_WARNING, "accept failed, pausing", log_text("reason", strerror(errno)));
            make_room(front);
            listeners_watch(front, 0);
            front->accept_again_ms = front->now_ms + ACCEPT_PAUSE_MS;
            return;
        } else if (errno == EAGAIN || errno == EINVAL) {
            return;
        } /* else one that died while it waited: the next */
    }
}

void connection_take(struct front *front, struct watch *watch, uint32_t events)
{
    struct listener *clients = (struct listener *)watch;
    struct wire_message message;
    int result = WIRE_OK;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH && result == WIRE_OK; i++) {
        result = wire_receive(clients->fd, LINK_CLIENTS, true, &message);
        if (result == WIRE_OK)
            welcome(front, clients, message.fds[0], owner_of(front, &message.client.address));
    }
    if (result == WIRE_STARVED)
        log_event(LOG_WARNING, "a client of the TLS process was lost: no descriptors");
}

int connection_deadlines(struct front *front)
{
    static const enum phase timed[] = {PHASE_IDLE, PHASE_LOOKING, PHASE_READING, PHASE_SILENT, PHASE_SENDING};
    int wait_ms = -1;
    for (size_t i = 0; i < COUNT(timed); i++) {
        uint64_t timeout = phase_timeout(front, timed[i]);
        struct connection *oldest;
        while ((oldest = front->queues[timed[i]].oldest) && oldest->since_ms + timeout <= front->now_ms) {
            if (timed[i] == PHASE_LOOKING)
                waiting_read(oldest);
            else if (timed[i] == PHASE_READING)
                too_slow(oldest);
            else if (timed[i] == PHASE_SILENT)
                follow_beat(front, oldest);
            else
                connection_shut(oldest);
        }
        if (oldest)
            sooner(&wait_ms, front->now_ms, oldest->since_ms + timeout);
    }
    for (struct lingerer *linger = front->lingering, *next; linger; linger = next) {
        next = linger->next;
        if (linger->until_ms <= front->now_ms)
            linger_end(front, linger);
        else
            sooner(&wait_ms, front->now_ms, linger->until_ms);
    }
    if (front->accept_again_ms && front->accept_again_ms <= front->now_ms) {
        front->accept_again_ms = 0;
        listeners_watch(front, EPOLLIN);
    }
    if (front->accept_again_ms)
        sooner(&wait_ms, front->now_ms, front->accept_again_ms);
    return wait_ms;
}

void connections_close(struct front *front)
{
    while (front->lingering)
        linger_end(front, front->lingering);
    for (size_t i = 0; i < PHASE_COUNT; i++) {
        for (struct connection *each = front->queues[i].oldest, *next; each; each = next) {
            next = each->newer;
            if (!each->mhd)
                waiting_end(each, false);
        }
    }
    listeners_close(front);
}

void listeners_close(struct front *front)
{
    for (size_t i = 0; i < front->listener_count; i++)
        drop_fd(&front->listeners[i].fd);
    front->listener_count = 0;
    front->accept_again_ms = 0;
}
