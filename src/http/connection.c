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

enum {
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
    queue_take(&front->queues[connection->phase], connection);
    if (phase == PHASE_CLOSING)
        front->closing++;
    connection->phase = phase;
    connection->since_ms = front->now_ms;
    queue_append(&front->queues[phase], connection);
}

/* Ends a connection that is libmicrohttpd's: it sees the hang-up and cleans up. */
static void connection_shut(struct connection *connection)
{
    shutdown(connection->fd, SHUT_RDWR);
    connection_phase(connection, PHASE_CLOSING);
}

static void send_raw(int fd, unsigned http, const char *reason, const char *content_type, struct buffer *body)
{
    char head[256];
    int length = snprintf(head, sizeof head,
                          "HTTP/1.1 %u %s\r\nContent-Type: %s\r\nX-Content-Type-Options: nosniff\r\n"
                          "Content-Length: %zu\r\nConnection: close\r\n\r\n",
                          http, reason, content_type, body->length);
    struct iovec parts[2] = {{head, (size_t)length}, {body->bytes, body->length}};
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
    if (problem)
        problem_body(http, title, text, &body);
    else
        error_body(text, &body);
    send_raw(connection->fd, http, title, problem ? "application/problem+json" : "application/json", &body);
    buffer_free(&body);
    connection_shut(connection);
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
    case PHASE_READING:
    case PHASE_SENDING:
        return front->setup.body_timeout_ms;
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

/* The client has hung up. libmicrohttpd does not look at suspended connections, so a flight is abandoned here. */
static void connection_hung_up(struct front *front, struct watch *watch, uint32_t events)
{
    struct connection *connection = (struct connection *)watch;
    (void)events;
    connection->gone = true;
    if (connection->exchange.flight) {
        flight_abandon(front, take(connection->exchange.flight));
        exchange_wake(front, connection);
    }
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

static void connection_open(struct front *front, struct MHD_Connection *mhd, void **context)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD);
    struct connection *connection = calloc(1, sizeof *connection);
    *context = NULL;
    if (!connection || front_watch(front, info->connect_fd, &connection->watch, EPOLLRDHUP | EPOLLET)) {
        free(connection);
        shutdown(info->connect_fd, SHUT_RDWR);
        return;
    }
    connection->watch.ready = connection_hung_up;
    connection->front = front;
    connection->mhd = mhd;
    connection->fd = info->connect_fd;
    connection->since_ms = front->now_ms;
    queue_append(&front->queues[PHASE_IDLE], connection);
    front->connections++;
    *context = connection;
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
    if (code == MHD_CONNECTION_NOTIFY_STARTED)
        connection_open(context, mhd, socket_context);
    else if (*socket_context)
        connection_closed(context, take(*socket_context));
}

/* Room for one more: the longest idle goes, or else whoever has been sending a request for the longest. */
static bool make_room(struct front *front)
{
    static const enum phase order[] = {PHASE_IDLE, PHASE_READING};
    for (size_t i = 0; i < COUNT(order); i++) {
        struct connection *oldest = front->queues[order[i]].oldest;
        if (oldest) {
            connection_shut(oldest);
            return true;
        }
    }
    return false;
}

static void refuse_connection(int fd)
{
    struct buffer body = {0};
    error_body("too many connections", &body);
    send_raw(fd, 503, "Service Unavailable", "application/json", &body);
    buffer_free(&body);
    close(fd);
}

static void welcome(struct front *front, const struct listener *listener, int fd)
{
    /* libmicrohttpd keeps an address, and needs none; 1.0 wants one as long as its family's. */
    struct sockaddr_in6 nobody = {.sin6_family = (sa_family_t)listener->family};
    if (front->connections - front->closing >= front->setup.max_connections && !make_room(front))
        refuse_connection(fd);
    else
        MHD_add_connection(front->daemon, fd, (struct sockaddr *)&nobody, sizeof nobody);
    front->run_mhd = true;
}

static void listeners_watch(struct front *front, uint32_t events)
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
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            welcome(front, listener, fd);
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

int connection_deadlines(struct front *front)
{
    static const enum phase timed[] = {PHASE_IDLE, PHASE_READING, PHASE_SENDING};
    int wait_ms = -1;
    for (size_t i = 0; i < COUNT(timed); i++) {
        uint64_t timeout = phase_timeout(front, timed[i]);
        struct connection *oldest;
        while ((oldest = front->queues[timed[i]].oldest) && oldest->since_ms + timeout <= front->now_ms) {
            if (timed[i] == PHASE_READING)
                too_slow(oldest);
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
    for (size_t i = 0; i < front->listener_count; i++)
        drop_fd(&front->listeners[i].fd);
}
