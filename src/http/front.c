#include "front.h"
#include "log.h"
#include "sandbox.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum {
    EVENTS = 256,
    MHD_TURNS = 3,
    FDS_RESERVED = 2048,  /* descriptors kept for runs' pipes and memory files */
    LAST_WORDS_MS = 2000, /* for answers that are still on their way when the supervisor has gone */
    FIRST_WORDS_MS = 200, /* for the request of who has come just before */
};

uint64_t front_clock_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int front_watch(struct front *front, int fd, struct watch *watch, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = watch};
    return epoll_ctl(front->epoll, EPOLL_CTL_ADD, fd, &event);
}

void front_bury(struct front *front, struct watch *watch)
{
    watch->ready = NULL;
    watch->next_buried = front->buried;
    front->buried = watch;
}

static void free_buried(struct front *front)
{
    for (struct watch *watch; (watch = front->buried);) {
        front->buried = watch->next_buried;
        free(watch);
    }
}

/* ---- the supervisor ---- */

bool front_tell(struct front *front, const struct wire_message *message)
{
    if (front->supervisor_full || wire_send(front->supervisor, message) == WIRE_AGAIN) {
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.ptr = &front->supervisor_watch};
        if (!front->supervisor_full)
            epoll_ctl(front->epoll, EPOLL_CTL_MOD, front->supervisor, &event);
        front->supervisor_full = true;
        return false;
    }
    return true; /* or closed: supervisor_lost() is about to hear that */
}

/* Whatever of the setup is no descriptor: at the start, and when the settings have changed. */
static int take_setup(struct front *front, const struct wire_setup *setup, int offers)
{
    struct environment_offers fresh;
    if (pread(offers, &fresh, sizeof fresh, 0) != sizeof fresh)
        return -1;
    front->environments = fresh;
    front->setup = *setup;
    log_open("front", (enum log_level)setup->log_level, (enum log_format)setup->log_format);
    front->runs.keep_ms = setup->records_ms;
    front->runs.keep_bytes = setup->records_bytes;
    if (front->setup.max_connections > front->most_connections) {
        log_event(LOG_WARNING, "fewer connections than configured: RLIMIT_NOFILE is low",
                  log_number("connections", front->most_connections),
                  log_number("configured", front->setup.max_connections));
        front->setup.max_connections = front->most_connections;
    }
    return 0;
}

static void supervisor_lost(struct front *front, int result)
{
    if (result == WIRE_CLOSED) {
        epoll_ctl(front->epoll, EPOLL_CTL_DEL, front->supervisor, NULL);
        front->serving = SERVING_DRAINING;
        front->end_ms = front->now_ms + LAST_WORDS_MS;
        listeners_close(front);
        flights_lost(front);
        scrape_lost(front);
        return;
    }
    front->done = true;
    log_event(LOG_ERROR, "the supervisor broke the protocol");
    front->exit_status = 1;
}

/* Sockets that a service manager holds lose nobody while we do not accept: who connects waits for a server that can run
 * scripts, this one or the next. */
static void take_state(struct front *front, const struct wire_state *state)
{
    enum serving serving = (enum serving)state->serving;
    memcpy(front->states, state->environments, sizeof front->states);
    probe_state(front, state);
    if (front->setup.inherited && serving == SERVING_READY)
        listeners_watch(front, EPOLLIN);
    if (front->setup.inherited && serving == SERVING_DRAINING)
        listeners_close(front);
}

static void supervisor_ready(struct front *front, struct watch *watch, uint32_t events)
{
    struct wire_message message;
    int result = WIRE_AGAIN;
    (void)watch;
    if (events & EPOLLOUT) {
        flight_flush(front);
        scrape_flush(front);
    }
    while (!front->done) {
        result = wire_receive(front->supervisor, LINK_FRONT, true, &message);
        if (result == WIRE_STARVED && message.type == WIRE_STARTED) {
            flight_starved(front, message.started.id);
            continue;
        }
        if (result != WIRE_OK)
            break;
        if (message.type == WIRE_SETUP && message.setup.listeners == 0 && message.fd_count == 2) {
            if (take_setup(front, &message.setup, message.fds[1]) == 0)
                routes_settings(front, message.fds[0]); /* without memory the old ones stay */
            wire_close_fds(&message);
        } else if (message.type == WIRE_KEYS) {
            if (access_keys(front, &message)) {
                log_event(LOG_ERROR, "the keys cannot be had");
                front->done = true;
                front->exit_status = 1;
            }
            wire_close_fds(&message);
        } else if (message.type == WIRE_STATE && message.state.serving <= SERVING_DRAINING) {
            take_state(front, &message.state);
        } else if (message.type == WIRE_ROOM) {
            front->room++;
        } else if (message.type == WIRE_STATS) {
            scrape_answer(front, &message.stats);
        } else if (message.type == WIRE_QUEUED || message.type == WIRE_STARTED || message.type == WIRE_OUTCOME ||
                   message.type == WIRE_REFUSED) {
            flight_message(front, &message);
        } else {
            wire_close_fds(&message);
            result = WIRE_BROKEN;
            break;
        }
    }
    if (result != WIRE_AGAIN)
        supervisor_lost(front, result);
}

/* ---- libmicrohttpd ---- */

static void mhd_ready(struct front *front, struct watch *watch, uint32_t events)
{
    (void)watch, (void)events;
    front->run_mhd = true;
}

/* MHD_get_timeout() does not know of connections that were resumed: run_mhd does. */
static bool mhd_pending(struct front *front)
{
    MHD_UNSIGNED_LONG_LONG timeout;
    return front->run_mhd || (MHD_get_timeout(front->daemon, &timeout) == MHD_YES && timeout == 0);
}

/* After an answer it mostly wants two turns more, to find that there is nothing yet; in between there is as good as
 * never anything for us. */
static void run_mhd(struct front *front)
{
    for (int turn = 0; turn < MHD_TURNS && mhd_pending(front); turn++) {
        front->run_mhd = false;
        if (MHD_run(front->daemon) != MHD_YES) {
            log_event(LOG_ERROR, "libmicrohttpd failed");
            front->done = true;
            front->exit_status = 1;
        }
    }
}

static void mhd_panic(void *context, const char *file, unsigned line, const char *reason)
{
    (void)context, (void)file;
    log_event(LOG_ERROR, "libmicrohttpd panics", log_text("reason", reason ? reason : ""), log_number("line", line));
    abort();
}

/* ---- the loop ---- */

/* Each is -1 where there is none. */
static int sooner(int one_ms, int other_ms)
{
    return one_ms < 0 || (other_ms >= 0 && other_ms < one_ms) ? other_ms : one_ms;
}

static int next_deadline(struct front *front)
{
    int wait_ms = sooner(connection_deadlines(front), flight_deadlines(front));
    wait_ms = sooner(wait_ms, probe_deadline(front));
    wait_ms = sooner(wait_ms, runs_deadline(&front->runs, front->now_ms));
    if (front->end_ms) {
        wait_ms = sooner(wait_ms, front->end_ms > front->now_ms ? (int)(front->end_ms - front->now_ms) : 0);
        wait_ms = sooner(wait_ms, FIRST_WORDS_MS);
    }
    return mhd_pending(front) ? 0 : wait_ms;
}

/* Whether somebody's first request may be on its way: it would be lost, and on a socket that the next server gets the
 * client sees no end of this one. */
static bool is_expecting(const struct front *front)
{
    for (const struct connection *each = front->queues[PHASE_IDLE].oldest; each; each = each->newer) {
        if (!each->mhd && each->since_ms + FIRST_WORDS_MS > front->now_ms)
            return true;
    }
    return front->queues[PHASE_LOOKING].oldest || front->queues[PHASE_READING].oldest;
}

/* Nobody still sends a request, takes an answer, or waits for one that is decided. */
static bool last_words_said(const struct front *front)
{
    return !front->queues[PHASE_WORKING].oldest && !front->queues[PHASE_SENDING].oldest && !front->lingering &&
           !is_expecting(front);
}

static void loop(struct front *front)
{
    struct epoll_event events[EVENTS];
    while (!front->done) {
        int count = epoll_wait(front->epoll, events, EVENTS, next_deadline(front));
        if (count < 0 && errno != EINTR) {
            log_event(LOG_ERROR, "epoll_wait failed", log_text("reason", strerror(errno)));
            front->exit_status = 1;
            return;
        }
        front->now_ms = front_clock_us() / 1000;
        for (int i = 0; i < count; i++) {
            struct watch *watch = events[i].data.ptr;
            if (watch->ready)
                watch->ready(front, watch, events[i].events);
        }
        run_mhd(front);
        connections_reap(front);
        free_buried(front);
        if (front->end_ms && (last_words_said(front) || front->end_ms <= front->now_ms))
            front->done = true;
    }
}

/* ---- start and end ---- */

/* Connections that there are descriptors for, whatever is configured. */
static uint32_t fit_descriptors(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files))
        return CONNECTIONS_MOST;
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    rlim_t most = files.rlim_cur / 2 > FDS_RESERVED ? files.rlim_cur - FDS_RESERVED : files.rlim_cur / 2;
    return most < CONNECTIONS_MOST ? (uint32_t)most : CONNECTIONS_MOST;
}

static int open_clients(struct front *front, struct wire_message *setup)
{
    front->clients = (struct listener){{.ready = connection_take}, .fd = take_fd(&setup->fds[2]), .family = AF_UNIX};
    return fcntl(front->clients.fd, F_SETFL, O_NONBLOCK) ||
                   front_watch(front, front->clients.fd, &front->clients.watch, EPOLLIN)
               ? -1
               : 0;
}

static int open_listeners(struct front *front, struct wire_message *setup)
{
    if (front->setup.clients && open_clients(front, setup))
        return -1;
    for (int i = front->setup.clients ? 3 : 2; i < setup->fd_count; i++) {
        struct listener *listener = &front->listeners[front->listener_count];
        socklen_t size = sizeof listener->family;
        listener->fd = take_fd(&setup->fds[i]);
        listener->watch.ready = connection_accept;
        front->listener_count++;
        if (getsockopt(listener->fd, SOL_SOCKET, SO_DOMAIN, &listener->family, &size) ||
            fcntl(listener->fd, F_SETFL, O_NONBLOCK) ||
            front_watch(front, listener->fd, &listener->watch, front->setup.inherited ? 0 : EPOLLIN))
            return -1;
    }
    return 0;
}

static int front_open(struct front *front, struct wire_message *setup)
{
    const union MHD_DaemonInfo *info;
    auto_fd int description = take_fd(&setup->fds[0]), offers = take_fd(&setup->fds[1]);
    front->most_connections = fit_descriptors();
    if (take_setup(front, &setup->setup, offers))
        return -1;
    front->now_ms = front_clock_us() / 1000;
    front->room = 1;
    front->supervisor_watch.ready = supervisor_ready;
    front->mhd_watch.ready = mhd_ready;
    MHD_set_panic_func(mhd_panic, NULL);
    if (getrandom(&front->owner_seed, sizeof front->owner_seed, 0) != sizeof front->owner_seed)
        return -1;
    front->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (front->epoll < 0 || runs_open(&front->runs) || routes_open(front, description) || exchange_open(front))
        return -1;
    info = MHD_get_daemon_info(front->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    if (!info || front_watch(front, info->epoll_fd, &front->mhd_watch, EPOLLIN) ||
        fcntl(front->supervisor, F_SETFL, O_NONBLOCK) ||
        front_watch(front, front->supervisor, &front->supervisor_watch, EPOLLIN))
        return -1;
    return open_listeners(front, setup);
}

/* libmicrohttpd must not be stopped while a connection of its sleeps. */
static void front_close(struct front *front)
{
    flights_close(front);
    if (front->daemon) {
        MHD_run(front->daemon);
        MHD_stop_daemon(front->daemon);
    }
    front->reaped = NULL;
    connections_close(front);
    routes_close(front);
    runs_close(&front->runs);
    free_buried(front);
    drop_fd(&front->epoll);
}

/* Before anybody can ask for anything. */
static int receive_keys(struct front *front)
{
    struct wire_message message;
    if (wire_receive(front->supervisor, LINK_FRONT, true, &message) != WIRE_OK)
        return -1;
    int result = message.type == WIRE_KEYS ? access_keys(front, &message) : -1;
    wire_close_fds(&message);
    return result;
}

int front_run(struct front *front, struct wire_message *setup)
{
    struct fault fault;
    front->epoll = front->clients.fd = -1;
    if (setup->setup.listeners + !!setup->setup.clients != (uint32_t)setup->fd_count - 2 || receive_keys(front) ||
        front_open(front, setup)) {
        log_event(LOG_ERROR, "the front cannot start", log_text("reason", strerror(errno)));
        front->exit_status = 1;
    } else if (sandbox_front(&fault)) {
        log_fault(LOG_ERROR, "the front's own sandbox cannot be closed", &fault);
        front->exit_status = 1;
    } else {
        loop(front);
    }
    wire_close_fds(setup);
    front_close(front);
    return front->exit_status;
}
