#include "tls.h"

#include "log.h"
#include "sandbox.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <time.h>

enum {
    EVENTS = 256,
    ACCEPT_BATCH = 64,
    FDS_OWN = 64,
    FDS_LINK = 2,
    LINGER_MS = 3000,
    RETRY_MS = 20,        /* descriptors, or room in the handover, may be there again */
    LAST_WORDS_MS = 3000, /* for answers that are on their way when the supervisor has gone */
};

/* TLS 1.2 and 1.3, keys that are forgotten after the session, ciphers that authenticate. */
static const char priorities[] = "NORMAL:-VERS-ALL:+VERS-TLS1.3:+VERS-TLS1.2:-KX-ALL:+ECDHE-ECDSA:+ECDHE-RSA:"
                                 "-CIPHER-ALL:+AES-256-GCM:+AES-128-GCM:+CHACHA20-POLY1305:-MAC-ALL:+AEAD";

static uint64_t clock_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

int server_watch(struct server *server, int fd, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(server->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* ---- phases and their deadlines ---- */

void server_forget(struct server *server, struct link *link)
{
    struct queue *queue = &server->queues[link->phase];
    *(link->older ? &link->older->newer : &queue->oldest) = link->newer;
    *(link->newer ? &link->newer->older : &queue->newest) = link->older;
    link->older = link->newer = NULL;
}

void server_join(struct server *server, struct link *link)
{
    struct queue *queue = &server->queues[link->phase];
    link->since_ms = server->now_ms;
    link->older = queue->newest;
    *(queue->newest ? &queue->newest->newer : &queue->oldest) = link;
    queue->newest = link;
}

void server_phase(struct server *server, struct link *link, enum phase phase)
{
    server_forget(server, link);
    link->phase = phase;
    server_join(server, link);
}

void server_again(struct server *server, struct link *link)
{
    if (link->queued)
        return;
    link->queued = true;
    link->next = server->busy;
    server->busy = link;
}

static int sooner(int one_ms, int other_ms)
{
    return one_ms < 0 || (other_ms >= 0 && other_ms < one_ms) ? other_ms : one_ms;
}

/* Closes what is overdue and returns the milliseconds until the next deadline, or -1. */
static int look_at_clock(struct server *server)
{
    const uint64_t timeouts[PHASE_COUNT] = {
        [PHASE_HANDSHAKE] = server->setup.timeout_ms,
        [PHASE_FLUSHING] = server->setup.timeout_ms,
        [PHASE_LINGERING] = LINGER_MS,
    };
    int wait_ms = server->busy ? 0 : server->offered || server->paused_ms ? RETRY_MS : -1;
    for (size_t i = 0; i < PHASE_COUNT; i++) {
        struct link *oldest;
        while (timeouts[i] && (oldest = server->queues[i].oldest)) {
            uint64_t end_ms = oldest->since_ms + timeouts[i];
            if (end_ms > server->now_ms) {
                wait_ms = sooner(wait_ms, end_ms - server->now_ms > 60000 ? 60000 : (int)(end_ms - server->now_ms));
                break;
            }
            link_close(server, oldest);
        }
    }
    if (server->end_ms)
        wait_ms = sooner(wait_ms, server->end_ms > server->now_ms ? (int)(server->end_ms - server->now_ms) : 0);
    return wait_ms;
}

/* ---- listening ---- */

static void watch_listeners(struct server *server, uint32_t events)
{
    for (size_t i = 0; i < server->listener_count; i++) {
        struct epoll_event event = {.events = events, .data.ptr = &server->listeners[i].watch};
        epoll_ctl(server->epoll, EPOLL_CTL_MOD, server->listeners[i].fd, &event);
    }
}

/* Descriptors or places are wanting: none are taken for RETRY_MS. */
static void pause_listening(struct server *server)
{
    server->paused_ms = server->now_ms + RETRY_MS;
    watch_listeners(server, 0);
}

static void close_listeners(struct server *server)
{
    for (size_t i = 0; i < server->listener_count; i++)
        drop_fd(&server->listeners[i].fd);
    server->listener_count = 0;
    server->paused_ms = 0;
}

/* Strangers who have not shaken hands make room for others; a client of the front's is the front's to send away. */
static bool make_room(struct server *server)
{
    struct link *oldest = server->queues[PHASE_HANDSHAKE].oldest;
    if (oldest)
        link_close(server, oldest);
    return oldest != NULL;
}

static void accept_ready(struct server *server, struct watch *watch, uint32_t events)
{
    const struct listener *listener = (const struct listener *)watch;
    static const int on = 1;
    (void)events;
    for (int i = 0; i < ACCEPT_BATCH; i++) {
        struct sockaddr_storage address = {0};
        socklen_t size = sizeof address;
        if (server->links >= server->links_most && !make_room(server)) {
            pause_listening(server);
            return;
        }
        int fd = accept4(listener->fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            link_start(server, fd, &address);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            log_event(LOG_WARNING, "accept failed, pausing", log_text("reason", strerror(errno)));
            make_room(server);
            pause_listening(server);
            return;
        } else if (errno == EAGAIN || errno == EINVAL) {
            return;
        } /* else one that died while it waited: the next */
    }
}

/* ---- the supervisor ---- */

static void answer(struct server *server, const struct fault *fault)
{
    struct wire_message message = {.type = WIRE_TLS_ANSWER, .tls_answer.refused = fault != NULL};
    if (fault)
        message.tls_answer.fault = *fault;
    wire_send(server->supervisor, &message);
}

/* Whatever of a setup is no socket. Sessions that are there keep the certificate that they began with. */
static int take_setup(struct server *server, struct wire_message *message)
{
    struct fault fault;
    log_open("tls", (enum log_level)message->tls_setup.log_level, (enum log_format)message->tls_setup.log_format);
    struct credentials *credentials = credentials_read(message->fds[0], message->fds[1], &fault);
    answer(server, credentials ? NULL : &fault);
    if (!credentials)
        return -1;
    credentials_leave(server->credentials);
    server->credentials = credentials;
    server->setup = message->tls_setup;
    return 0;
}

static void take_state(struct server *server, enum serving serving)
{
    /* As the front has it: what waits on a socket that somebody else holds, too, is not lost. */
    if (server->setup.inherited && serving == SERVING_READY)
        watch_listeners(server, EPOLLIN);
    if (server->setup.inherited && serving == SERVING_DRAINING)
        close_listeners(server);
}

static void supervisor_lost(struct server *server, int result)
{
    server->end_ms = server->now_ms + LAST_WORDS_MS;
    epoll_ctl(server->epoll, EPOLL_CTL_DEL, server->supervisor, NULL);
    close_listeners(server);
    if (result == WIRE_CLOSED)
        return;
    log_event(LOG_ERROR, "the supervisor broke the protocol");
    server->exit_status = 1;
    server->done = true;
}

static void supervisor_ready(struct server *server, struct watch *watch, uint32_t events)
{
    struct wire_message message;
    int result;
    (void)watch, (void)events;
    while ((result = wire_receive(server->supervisor, LINK_TLS, true, &message)) == WIRE_OK) {
        if (message.type == WIRE_TLS_SETUP && message.fd_count == 2)
            take_setup(server, &message);
        else if (message.type == WIRE_TLS_STATE && message.state.serving <= SERVING_DRAINING)
            take_state(server, (enum serving)message.state.serving);
        else
            result = WIRE_BROKEN;
        wire_close_fds(&message);
        if (result != WIRE_OK)
            break;
    }
    if (result != WIRE_AGAIN)
        supervisor_lost(server, result);
}

/* ---- the loop ---- */

static void move_busy(struct server *server)
{
    struct link *link = take(server->busy), *next;
    for (; link; link = next) {
        next = link->next;
        link->queued = false;
        if (link->dead) {
            link->next = server->graveyard;
            server->graveyard = link;
        } else {
            link_move(server, link);
        }
    }
}

static void offer_again(struct server *server)
{
    struct link *next;
    for (struct link *link = server->queues[PHASE_HANDSHAKE].oldest; link && server->offered; link = next) {
        next = link->newer;
        if (link->offered >= 0)
            link_move(server, link);
    }
}

static void bury(struct server *server)
{
    for (struct link *link; (link = server->graveyard);) {
        server->graveyard = link->next;
        free(link);
    }
}

static void loop(struct server *server)
{
    struct epoll_event events[EVENTS];
    while (!server->done) {
        int count = epoll_wait(server->epoll, events, EVENTS, look_at_clock(server));
        bury(server); /* what was closed before the wait is in none of these events */
        if (count < 0 && errno != EINTR) {
            log_event(LOG_ERROR, "epoll_wait failed", log_text("reason", strerror(errno)));
            server->exit_status = 1;
            return;
        }
        server->now_ms = clock_ms();
        for (int i = 0; i < count; i++) {
            struct watch *watch = events[i].data.ptr;
            watch->ready(server, watch, events[i].events);
        }
        move_busy(server);
        offer_again(server);
        if (server->paused_ms && server->paused_ms <= server->now_ms) {
            server->paused_ms = 0;
            watch_listeners(server, EPOLLIN);
        }
        if (server->end_ms && (!server->links || server->end_ms <= server->now_ms))
            server->done = true;
    }
}

/* ---- start and end ---- */

static int open_listeners(struct server *server, struct wire_message *setup)
{
    for (int i = 3; i < setup->fd_count; i++) {
        struct listener *listener = &server->listeners[server->listener_count++];
        listener->watch.ready = accept_ready;
        listener->fd = take_fd(&setup->fds[i]);
        if (fcntl(listener->fd, F_SETFL, O_NONBLOCK) ||
            server_watch(server, listener->fd, &listener->watch, server->setup.inherited ? 0 : EPOLLIN))
            return -1;
    }
    return 0;
}

static size_t links_most(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files))
        return 256;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    rlim_t own = FDS_OWN;
    return files.rlim_cur < 2 * own ? own / FDS_LINK : (files.rlim_cur - own) / FDS_LINK;
}

static int server_open(struct server *server, struct wire_message *setup)
{
    server->handover = take_fd(&setup->fds[2]);
    server->supervisor_watch.ready = supervisor_ready;
    server->links_most = links_most();
    server->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (server->epoll < 0 || gnutls_priority_init(&server->priorities, priorities, NULL) ||
        gnutls_session_ticket_key_generate(&server->ticket_key) || fcntl(server->handover, F_SETFL, O_NONBLOCK) ||
        fcntl(server->supervisor, F_SETFL, O_NONBLOCK) ||
        server_watch(server, server->supervisor, &server->supervisor_watch, EPOLLIN))
        return -1;
    return open_listeners(server, setup);
}

static void server_close(struct server *server)
{
    for (size_t i = 0; i < PHASE_COUNT; i++) {
        while (server->queues[i].oldest)
            link_close(server, server->queues[i].oldest);
    }
    move_busy(server);
    bury(server);
    close_listeners(server);
    credentials_leave(take(server->credentials));
    if (server->priorities)
        gnutls_priority_deinit(server->priorities);
    gnutls_free(server->ticket_key.data);
    drop_fd(&server->handover);
    drop_fd(&server->epoll);
}

int server_run(struct server *server, struct wire_message *setup)
{
    struct fault fault;
    server->epoll = server->handover = -1;
    server->now_ms = clock_ms();
    bool taken = take_setup(server, setup) == 0;
    bool serves = taken && setup->fd_count > 2; /* else only the files were to be checked */
    drop_fd(&setup->fds[0]);
    drop_fd(&setup->fds[1]);
    if (serves && server_open(server, setup)) {
        log_event(LOG_ERROR, "the TLS process cannot start", log_text("reason", strerror(errno)));
        server->exit_status = 1;
    } else if (serves && sandbox_tls(&fault)) {
        log_fault(LOG_ERROR, "the TLS process's own sandbox cannot be closed", &fault);
        server->exit_status = 1;
    } else if (serves) {
        loop(server);
    }
    wire_close_fds(setup);
    server_close(server);
    return taken ? server->exit_status : 1;
}
