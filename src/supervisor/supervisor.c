/* The engine's loop: who waits for what, and in which order they get it. engine.h has the theory of operation. */
#include "engine.h"

#include "log.h"
#include "policy.h"
#include "scope.h"
#include "service.h"
#include "turns.h"

#include <errno.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>

enum {
    ENTER_TIMEOUT_US = 5000000,
    WARM_TIMEOUT_US = 120000000,
    SLOTS_MOST = SETTINGS_CONCURRENCY_MOST + ENVIRONMENT_ROWS * (SETTINGS_POOL_MOST + SPAWNS_AT_ONCE),
    LISTEN_US = 5000000,
    SAID_US = 10000000,
};

uint64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

int engine_watch(struct engine *engine, int fd, struct source *source)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
    return epoll_ctl(engine->epoll, EPOLL_CTL_ADD, fd, &event);
}

/* ---- balance ---- */

void engine_tell_service(const struct engine *engine)
{
    static const char *const words[] = {
        [SERVING_STARTING] = "STATUS=no jail can be had yet",
        [SERVING_READY] = "READY=1\nSTATUS=ready",
        [SERVING_DRAINING] = "STOPPING=1\nSTATUS=finishing what is in flight",
    };
    service_tell("%s", words[engine->serving]);
}

static void update_serving(struct engine *engine)
{
    const struct environment *usual = &engine->environments[ENVIRONMENT_DEFAULT];
    enum serving serving = engine->draining                                                      ? SERVING_DRAINING
                           : usual->in_state[SLOT_WAITING] + usual->in_state[SLOT_RUNNING] > 0   ? SERVING_READY
                           : engine->serving == SERVING_READY && usual->failures < FAILURES_MOST ? SERVING_READY
                                                                                                 : SERVING_STARTING;
    uint64_t zygote = usual->zygote.child.ready ? usual->zygote.generation : 0;
    uint8_t states[ENVIRONMENT_ROWS];
    environments_states(engine, states);
    bool changed = serving != engine->serving;
    if (!changed && zygote == engine->zygote_told && memcmp(states, engine->states_told, sizeof states) == 0)
        return;
    memcpy(engine->states_told, states, sizeof states);
    engine->serving = serving;
    engine->zygote_told = zygote;
    if (changed && serving == SERVING_READY)
        log_event(LOG_INFO, "ready", log_number("pool", usual->in_state[SLOT_WAITING]));
    front_tell_state(engine);
    tls_tell_state(engine);
    engine_tell_service(engine);
}

static void relay_watch(struct engine *engine, int result, const struct fault *fault)
{
    if (result == 0 && engine_watch(engine, engine->relay.pidfd, &engine->relay_source) == 0)
        return;
    log_fault(LOG_WARNING, "no relay for the log", fault);
}

/* It needs no starter: it gives everything up itself. */
static void keep_relay(struct engine *engine)
{
    struct fault fault = {.layer = "log"};
    uint64_t now = now_us();
    if (now >= relay_due(&engine->relay))
        relay_watch(engine, relay_again(&engine->relay, now, &fault), &fault);
}

static void keep_children(struct engine *engine)
{
    uint64_t now = engine->now_us = now_us();
    if (!engine->starter.pid)
        return;
    if (!engine->quit)
        environments_keep(engine, now);
    if (!engine->front.pid && !engine->quit && !engine->draining && now >= engine->front.retry_us)
        front_start(engine);
    if (tls_wanted(engine) && !engine->tls.child.pid && !engine->quit && !engine->draining &&
        now >= engine->tls.child.retry_us)
        tls_start(engine);
}

void engine_starved(struct engine *engine, const char *object)
{
    struct fault fault;
    uint64_t now = now_us();
    if (engine->starved_us && now < engine->starved_us + SAID_US)
        return;
    engine->starved_us = now;
    fault_set(&fault, "supervisor", "receive", EMFILE, "%s", object);
    log_fault(LOG_ERROR, "no descriptors are left", &fault);
}

void engine_balance(struct engine *engine)
{
    pool_start_queued(engine); /* first: what follows may read files of /proc and of cgroups */
    keep_relay(engine);
    keep_children(engine);
    pool_drop_odd(engine);
    runs_refuse(engine);
    runs_tell_room(engine);
    for (size_t i = 0; i < engine->environment_count; i++) {
        if (environment_is_needed(engine, &engine->environments[i], engine->now_us))
            pool_refill(engine, &engine->environments[i]);
    }
    update_serving(engine);
}

/* ---- signals and time ---- */

struct slot *slot_of(struct engine *engine, pid_t pid)
{
    for (size_t i = 0; i < engine->slot_count; i++) {
        if (engine->slots[i].pid == pid && engine->slots[i].state >= SLOT_ENTERING)
            return &engine->slots[i];
    }
    return NULL;
}

static void drain(struct engine *engine)
{
    if (engine->draining) {
        engine->drain_deadline_us = now_us(); /* asked twice: at once */
        return;
    }
    engine->draining = true;
    engine->drain_deadline_us = now_us() + engine->settings->grace_ms * 1000;
    log_event(LOG_INFO, "stopping", log_number("running", engine->in_state[SLOT_RUNNING]),
              log_number("queued", runs_waiting(engine)));
}

/* Only a new server has the privileges to begin another. What runs may end in its time. */
static void starter_lost(struct engine *engine, int status)
{
    log_event(LOG_ERROR, "the starter ended, and so does the server", log_number("status", status));
    engine->starter.pid = 0;
    engine->failed = true;
    if (!engine->draining)
        drain(engine);
}

static void reap(struct engine *engine)
{
    struct rusage usage;
    int status;
    for (;;) {
        pid_t pid = wait4(-1, &status, WNOHANG, &usage);
        if (pid <= 0)
            return;
        struct slot *slot = slot_of(engine, pid);
        struct zygote *zygote = slot ? NULL : zygote_of(engine, pid);
        if (slot)
            slot_reaped(engine, slot, status, &usage);
        else if (pid == engine->front.pid)
            front_lost(engine, status);
        else if (zygote)
            zygote_lost(engine, zygote, status);
        else if (pid == engine->tls.child.pid)
            tls_lost(engine, status);
        else if (pid == engine->starter.pid)
            starter_lost(engine, status);
        else /* a zygote that was replaced, or a clone whose zygote died before it could name it */
            slots_end_orphans(engine, pid);
    }
}

static void signal_event(struct engine *engine)
{
    struct signalfd_siginfo info[16];
    ssize_t length = read(engine->signal_fd, info, sizeof info);
    for (size_t i = 0; length > 0 && i < (size_t)length / sizeof *info; i++) {
        /* A hang-up of our terminal is the kernel's, and an end. */
        if (info[i].ssi_signo == SIGHUP && info[i].ssi_code != SI_KERNEL && !engine->front_once)
            engine_reload(engine);
        else if (info[i].ssi_signo != SIGCHLD)
            drain(engine);
    }
    reap(engine);
}

static void zygote_hangs(const struct zygote *zygote)
{
    log_event(LOG_ERROR, "a zygote does not answer and is ended", log_number("pid", zygote->child.pid));
    child_kill(&zygote->child); /* zygote_lost() frees its slots */
}

/* The front and the TLS process are looked at every few seconds. What they are told here they know already: one that
 * lives reads it. The command line's client may wait for whoever reads its output. */
static void listen_to_children(struct engine *engine, uint64_t now)
{
    engine->listen_us = now + LISTEN_US;
    if (engine->draining || engine->front_once)
        return;
    if (child_is_deaf(&engine->front)) {
        log_event(LOG_ERROR, "the front takes no messages and is ended");
        child_kill(&engine->front);
    } else {
        front_tell_state(engine);
    }
    if (child_is_deaf(&engine->starter)) {
        log_event(LOG_ERROR, "the starter takes no orders and is ended");
        child_kill(&engine->starter);
    }
    if (child_is_deaf(&engine->tls.child)) {
        log_event(LOG_ERROR, "the TLS process takes no messages and is ended");
        child_kill(&engine->tls.child);
    } else {
        tls_tell_state(engine);
    }
}

/* Looks at every deadline that has passed and returns the milliseconds to the next, -1 for none. */
static int look_at_clock(struct engine *engine)
{
    uint64_t now = now_us(), next = UINT64_MAX;
#define SOONER(when) next = (when) < next ? (when) : next
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct slot *slot = &engine->slots[i];
        if (slot->state == SLOT_RUNNING) {
            if (now >= slot->wall_deadline_us || now >= slot->look_us)
                slot_look(engine, slot, now);
            SOONER(slot->wall_deadline_us);
            SOONER(slot->look_us);
        } else if (slot->state == SLOT_ENTERING) {
            if (now >= slot->state_us + ENTER_TIMEOUT_US)
                slot_kill(engine, slot, CAUSE_LOST);
            else
                SOONER(slot->state_us + ENTER_TIMEOUT_US);
        } else if (slot->state == SLOT_SPAWNING) {
            if (now < slot->state_us + ENTER_TIMEOUT_US)
                SOONER(slot->state_us + ENTER_TIMEOUT_US);
            else
                zygote_hangs(&slot->environment->zygote);
        }
    }
    for (size_t i = 0; i < 2 * engine->environment_count; i++) {
        const struct environment *environment = &engine->environments[i / 2];
        const struct zygote *zygote = i % 2 ? &environment->next_zygote : &environment->zygote;
        if (!zygote->child.pid || zygote->child.ready)
            continue;
        if (now < zygote->child.started_us + WARM_TIMEOUT_US)
            SOONER(zygote->child.started_us + WARM_TIMEOUT_US);
        else
            zygote_hangs(zygote);
    }
    if (now >= engine->listen_us)
        listen_to_children(engine, now);
    SOONER(engine->listen_us);
    for (size_t i = 0; i < engine->environment_count; i++) {
        const struct environment *environment = &engine->environments[i];
        if (environment->spawn_retry_us > now)
            SOONER(environment->spawn_retry_us);
        if (environment->in_state[SLOT_WAITING] < environment->pool && engine->started_us + POOL_REFILL_US > now)
            SOONER(engine->started_us + POOL_REFILL_US);
        if (environment->zygote.child.ready)
            SOONER(now + 60000000); /* recycling by age needs no better clock */
    }
    if (!engine->front.pid && !engine->draining)
        SOONER(engine->front.retry_us);
    if (!engine->tls.child.pid && !engine->draining && tls_wanted(engine))
        SOONER(engine->tls.child.retry_us);
    if (engine->draining)
        SOONER(engine->drain_deadline_us);
    SOONER(runs_deadline(engine));
    SOONER(environments_deadline(engine, now));
    SOONER(relay_due(&engine->relay));
    if (engine->watchdog_us && now >= engine->watchdog_next_us) {
        service_tell("WATCHDOG=1");
        engine->watchdog_next_us = now + engine->watchdog_us;
    }
    if (engine->watchdog_us)
        SOONER(engine->watchdog_next_us);
#undef SOONER
    return next == UINT64_MAX ? -1 : next <= now ? 0 : (int)((next - now + 999) / 1000);
}

/* While draining: ends what is left at the deadline, and us when nothing is. */
static void drain_step(struct engine *engine)
{
    if (engine->in_state[SLOT_RUNNING] == 0 && runs_waiting(engine) == 0 && engine->front.socket >= 0 &&
        !engine->unsent_head) {
        /* The front answers what it has and ends when this socket closes; then so do we (front_lost). */
        drop_fd(&engine->front.socket);
        engine->drain_deadline_us = now_us() + 5000000;
    }
    if (!engine->front.pid && !engine->tls.child.pid) {
        engine->quit = true;
        return;
    }
    if (now_us() < engine->drain_deadline_us)
        return;
    for (size_t i = 0; i < engine->slot_count; i++) {
        if (engine->slots[i].state == SLOT_RUNNING) {
            engine->slots[i].run->starts = UINT_MAX; /* and not again */
            slot_kill(engine, &engine->slots[i], CAUSE_LOST);
        }
    }
    for (struct run *run; (run = run_waiting(engine));) {
        struct facts facts = {.cause = CAUSE_LOST};
        run_finish(engine, run, &facts);
    }
    if (engine->front.socket < 0) {
        child_kill(&engine->front);
        child_kill(&engine->tls.child);
    }
    engine->drain_deadline_us = now_us() + 1000000;
}

static void relay_ended(struct engine *engine)
{
    log_event(LOG_ERROR, "the log's relay ended");
    epoll_ctl(engine->epoll, EPOLL_CTL_DEL, engine->relay.pidfd, NULL);
    relay_lost(&engine->relay, now_us());
}

void engine_relay_log(struct engine *engine)
{
    struct fault fault = {.layer = "log"};
    engine->relay_source = (struct source){SOURCE_RELAY, NULL};
    relay_watch(engine, relay_open(&engine->relay, now_us(), &fault), &fault);
}

static void dispatch(struct engine *engine, const struct epoll_event *event)
{
    struct source *source = event->data.ptr;
    switch (source->kind) {
    case SOURCE_SIGNAL:
        signal_event(engine);
        break;
    case SOURCE_FRONT:
        if (engine->unsent_head)
            front_flush(engine);
        else if (engine->front.socket >= 0)
            front_event(engine);
        break;
    case SOURCE_TLS:
        if (engine->tls.child.socket >= 0)
            tls_event(engine);
        break;
    case SOURCE_ZYGOTE: {
        struct zygote *zygote = source->owner;
        if (zygote->child.socket >= 0)
            zygote_event(engine, zygote);
        break;
    }
    case SOURCE_CONTROL: {
        struct slot *slot = source->owner;
        if (slot->control >= 0)
            slot_control(engine, slot);
        break;
    }
    case SOURCE_STARTER:
        if (engine->starter.socket >= 0)
            starter_event(engine);
        break;
    case SOURCE_RELAY:
        relay_ended(engine);
        break;
    case SOURCE_OOM:
        slot_oom(source->owner);
        break;
    case SOURCE_LISTENER: {
        struct slot *slot = source->owner;
        if (slot->listener >= 0)
            slot_notified(engine, slot, event->events & EPOLLIN);
        break;
    }
    }
}

static bool engine_is_broken(const struct engine *engine)
{
    for (size_t i = 0; i < engine->environment_count; i++) {
        if (engine->environments[i].failures >= FAILURES_MOST)
            return true;
    }
    return false;
}

int engine_serve(struct engine *engine)
{
    struct fault fault;
    take_short_turns();
    if (starter_open(engine, &fault) || engine_confine(engine, &fault)) {
        log_fault(LOG_ERROR, "the server cannot start", &fault);
        return 1;
    }
    engine_balance(engine);
    while (!engine->quit) {
        struct epoll_event events[64];
        int count = epoll_wait(engine->epoll, events, COUNT(events), look_at_clock(engine));
        for (int i = 0; i < count; i++)
            dispatch(engine, &events[i]);
        engine_balance(engine);
        if (engine->draining)
            drain_step(engine);
        if (engine->front_once && engine_is_broken(engine))
            return 1;
    }
    return engine->failed ? 1 : engine->front_once ? engine->front_status : 0;
}

/* ---- open and close ---- */

void engine_grow(struct engine *engine)
{
    /* Runs, the pools of those that have had a zygote, and those that are still dying. */
    size_t jails = engine->concurrency;
    for (size_t i = 0; i < engine->environment_count; i++)
        jails += engine->environments[i].zygote.generation ? engine->environments[i].pool + SPAWNS_AT_ONCE : 0;
    while (engine->slot_count < jails) {
        struct slot *slot = &engine->slots[engine->slot_count++];
        slot->pidfd = slot->control = slot->listener = slot->report = slot->out = slot->err = -1;
        slot->control_source = (struct source){SOURCE_CONTROL, slot};
        slot->oom_source = (struct source){SOURCE_OOM, slot};
        slot->listener_source = (struct source){SOURCE_LISTENER, slot};
        slot->next_free = engine->free_slots;
        engine->free_slots = slot;
        engine->in_state[SLOT_FREE]++;
    }
}

int engine_open(struct engine *engine, struct fault *fault)
{
    sigset_t mask;
    engine->counts.started_s = (uint64_t)time(NULL);
    engine->unsent_tail = &engine->unsent_head;
    engine->starter.socket = engine->front.socket = -1;
    engine->front.source = (struct source){SOURCE_FRONT, NULL};
    engine->starter.source = (struct source){SOURCE_STARTER, NULL};
    engine->signal_source = (struct source){SOURCE_SIGNAL, NULL};
    engine->tls.child.source = (struct source){SOURCE_TLS, NULL};
    engine->relay = (struct relay){.pidfd = -1, .source = -1, .destination = -1};
    if ((engine->plan.layers & LAYER_BIT(LAYER_CGROUP)) && !(engine->cgroups = cgroups_open(fault)))
        return -1;
    engine->slots = calloc(SLOTS_MOST, sizeof *engine->slots);
    if (!engine->slots)
        return fault_set(fault, "supervisor", "calloc", errno, "slots");
    engine_grow(engine);
    engine->watchdog_us = service_watchdog_us();
    if (runs_open(engine, fault))
        return -1;
    sigemptyset(&mask);
    sigaddset(&mask, SIGCHLD);
    sigaddset(&mask, SIGTERM);
    sigaddset(&mask, SIGINT);
    sigaddset(&mask, SIGHUP);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    signal(SIGPIPE, SIG_IGN);
    if (engine_has_orphans(engine) && prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
        return fault_set(fault, "supervisor", "prctl", errno, "PR_SET_CHILD_SUBREAPER");
    engine->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    engine->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (engine->signal_fd < 0 || engine->epoll < 0 || engine_watch(engine, engine->signal_fd, &engine->signal_source))
        return fault_set(fault, "supervisor", "epoll", errno, "signalfd");
    return 0;
}

void engine_close(struct engine *engine)
{
    engine->quit = true;
    for (size_t i = 0; i < engine->slot_count; i++)
        slot_kill(engine, &engine->slots[i], CAUSE_LOST);
    child_kill(&engine->front);
    for (size_t i = 0; i < engine->environment_count; i++) {
        child_kill(&engine->environments[i].zygote.child);
        child_kill(&engine->environments[i].next_zygote.child);
    }
    child_kill(&engine->tls.child);
    child_kill(&engine->starter);
    /* Clones that were never named to us end by themselves as their control sockets close. */
    for (size_t i = 0; i < engine->slot_count; i++) {
        drop_fd(&engine->slots[i].control);
    }
    for (size_t i = 0; i < engine->environment_count; i++) {
        drop_fd(&engine->environments[i].zygote.child.socket);
        drop_fd(&engine->environments[i].next_zygote.child.socket);
    }
    drop_fd(&engine->tls.child.socket);
    drop_fd(&engine->starter.socket);
    for (pid_t pid; (pid = wait4(-1, NULL, 0, NULL)) > 0 || errno == EINTR;)
        slots_end_orphans(engine, pid);
    for (size_t i = 0; i < engine->slot_count; i++) {
        if (engine->slots[i].state != SLOT_FREE)
            slot_free(engine, &engine->slots[i]);
    }
    runs_close(engine);
    cgroups_close(engine->cgroups);
    boxes_close(engine->boxes);
    engine->cgroups = NULL;
}
