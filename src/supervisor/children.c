/* The front and the zygotes: started, watched, started again. Each gets a socket as descriptor 3 and nothing else; how
 * they are made is the starter's. */
#include "engine.h"

#include "log.h"
#include "policy.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/sockios.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { LIVED_US = 1000000, MESSAGES_AT_ONCE = 64, DEAF_LOOKS = 4, STARVED_US = 200000 };

bool child_begin(struct engine *engine, struct child *child, enum begun what, uint32_t interpreter)
{
    struct fault fault;
    int pair[2] = {-1, -1};
    pid_t pid = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair)
                    ? fault_set(&fault, "supervisor", "socketpair", errno, "a child's")
                    : starter_begin(engine, what, interpreter, pair[1], &fault);
    drop_fd(&pair[1]);
    if (pid < 0) {
        drop_fd(&pair[0]);
        log_fault(LOG_ERROR, "a child could not be started", &fault);
        return false;
    }
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    child->pid = pid;
    child->socket = pair[0];
    child->ready = false;
    child->deaf_looks = 0;
    child->started_us = now_us();
    if (engine_watch(engine, child->socket, &child->source))
        log_event(LOG_ERROR, "epoll refused a child's socket", log_number("errno", errno));
    return true;
}

/* Looks are counted, not seconds: after a pause of the machine or of ours nobody had the time to read. */
bool child_is_deaf(struct child *child)
{
    int unread = 0;
    bool hears =
        child->pid <= 0 || child->socket < 0 || child->heard || ioctl(child->socket, SIOCOUTQ, &unread) || unread == 0;
    child->heard = false;
    child->deaf_looks = hears ? 0 : child->deaf_looks + 1;
    return child->deaf_looks > DEAF_LOOKS;
}

void child_ended(struct child *child, bool was_ready)
{
    drop_fd(&child->socket);
    child->pid = 0;
    child->ready = false;
    child->failures = was_ready ? 0 : child->failures + 1;
    uint64_t wait_ms = child->failures == 0 ? 0 : child->failures < 4 ? 100 : 2000;
    child->retry_us = now_us() + wait_ms * 1000;
}

/* ---- front ---- */

static void limits_raise(struct limits *limits, const struct limits *to)
{
    for (int i = 0; i < LIMIT_COUNT; i++) {
        if (limits->value[i] < to->value[i])
            limits->value[i] = to->value[i];
    }
}

/* The setup without listeners. */
static struct wire_message front_settings(struct engine *engine)
{
    const struct settings *settings = engine->settings;
    struct wire_message message = {.type = WIRE_SETUP};
    message.setup = (struct wire_setup){
        .limits = engine->environments[ENVIRONMENT_DEFAULT].made_for.limits,
        .inherited = engine->listening_count && engine->listening[0].inherited,
        .max_connections = (uint32_t)settings->connections,
        .body_timeout_ms = settings->body_timeout_ms,
        .idle_timeout_ms = settings->idle_timeout_ms,
        .buffered_bytes = settings->buffered_bytes,
        .records_ms = settings->records_seconds * 1000,
        .records_bytes = settings->records_bytes,
        .heartbeat_ms = settings->heartbeat_ms,
        .log_level = (uint32_t)settings->log_level,
        .log_format = (uint32_t)settings->log_format,
    };
#ifdef SAFE_SCRIPT_ABLATION
    message.setup.without = engine->plan.without;
#endif
    if (settings->cors_origins)
        snprintf(message.setup.cors_origins, sizeof message.setup.cors_origins, "%s", settings->cors_origins);
    message.fds[message.fd_count++] = engine->description;
    message.fds[message.fd_count++] = engine->offers;
    for (size_t i = 0; i < engine->environment_count; i++)
        limits_raise(&engine->environments[i].told, &engine->environments[i].made_for.limits);
    return message;
}

void front_tell_settings(struct engine *engine)
{
    struct wire_message message = front_settings(engine);
    front_send(engine, &message);
}

static void front_setup(struct engine *engine)
{
    for (size_t i = 0; i < engine->environment_count; i++)
        engine->environments[i].told = (struct limits){{0}};
    struct wire_message message = front_settings(engine);
    message.setup.clients = engine->tls.clients[1] >= 0;
    if (message.setup.clients)
        message.fds[message.fd_count++] = engine->tls.clients[1];
    for (size_t i = 0; i < engine->listening_count; i++) {
        if (engine->listening[i].tls)
            continue;
        message.fds[message.fd_count++] = engine->listening[i].fd;
        message.setup.listeners++;
    }
    if (wire_send(engine->front.socket, &message) != WIRE_OK)
        log_event(LOG_ERROR, "the front did not take its setup");
    if (!engine->front_once)
        front_tell_keys(engine);
    front_tell_state(engine);
}

void front_start(struct engine *engine)
{
    if (!child_begin(engine, &engine->front, BEGUN_FRONT, 0)) {
        child_ended(&engine->front, false);
        return;
    }
    engine->front.ready = true;
    front_setup(engine);
}

void front_tell_state(struct engine *engine)
{
    struct wire_message message = {.type = WIRE_STATE,
                                   .state = {.serving = engine->serving, .zygote = engine->zygote_told}};
    memcpy(message.state.environments, engine->states_told, sizeof engine->states_told);
    front_send(engine, &message);
}

/* While messages wait, nothing more is read from the front: its next orders would only make more of them. */
static void front_wait_for(struct engine *engine, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = &engine->front.source};
    epoll_ctl(engine->epoll, EPOLL_CTL_MOD, engine->front.socket, &event);
}

static void unsent_drop(struct engine *engine)
{
    while (engine->unsent_head) {
        struct unsent *unsent = engine->unsent_head;
        engine->unsent_head = unsent->next;
        wire_close_fds(&unsent->message);
        free(unsent);
    }
    engine->unsent_tail = &engine->unsent_head;
}

static struct unsent *unsent_copy(const struct wire_message *message)
{
    struct unsent *unsent = calloc(1, sizeof *unsent);
    if (!unsent)
        return NULL;
    unsent->message = *message;
    bool whole = true;
    for (int i = 0; i < message->fd_count; i++) {
        unsent->message.fds[i] = fcntl(message->fds[i], F_DUPFD_CLOEXEC, 0);
        whole = whole && unsent->message.fds[i] >= 0;
    }
    if (whole)
        return unsent;
    wire_close_fds(&unsent->message);
    free(unsent);
    return NULL;
}

static void unsent_add(struct engine *engine, const struct wire_message *message)
{
    struct unsent *unsent = unsent_copy(message);
    if (!unsent) {
        /* Without this message its client would wait for ever. */
        log_event(LOG_ERROR, "no memory or descriptors for a message to the front, which is ended");
        child_kill(&engine->front);
        return;
    }
    if (!engine->unsent_head)
        front_wait_for(engine, EPOLLOUT);
    *engine->unsent_tail = unsent;
    engine->unsent_tail = &unsent->next;
}

void front_send(struct engine *engine, const struct wire_message *message)
{
    if (!engine->front.pid || engine->front.socket < 0)
        return;
    int result = engine->unsent_head ? WIRE_AGAIN : wire_send(engine->front.socket, message);
    if (result == WIRE_AGAIN)
        unsent_add(engine, message);
}

void front_flush(struct engine *engine)
{
    while (engine->unsent_head && engine->front.socket >= 0) {
        struct unsent *unsent = engine->unsent_head;
        if (wire_send(engine->front.socket, &unsent->message) == WIRE_AGAIN)
            return;
        engine->unsent_head = unsent->next;
        if (!unsent->next)
            engine->unsent_tail = &engine->unsent_head;
        wire_close_fds(&unsent->message);
        free(unsent);
    }
    if (engine->front.socket >= 0)
        front_wait_for(engine, EPOLLIN);
}

void front_lost(struct engine *engine, int status)
{
    bool lived = now_us() - engine->front.started_us > LIVED_US;
    child_ended(&engine->front, lived);
    unsent_drop(engine);
    if (engine->front_once || engine->draining) {
        engine->front_status = WIFEXITED(status) ? WEXITSTATUS(status) : 1;
        drop_fd(&engine->tls.child.socket); /* it passes on what the front has said, and ends; then so do we */
        engine->quit = !engine->tls.child.pid;
        return;
    }
    engine->counts.restarts[PROCESS_FRONT]++;
    log_event(LOG_ERROR, "the front ended and is started again", log_number("status", status));
    runs_orphan(engine);
}

/* ---- zygotes ---- */

void zygote_open(struct zygote *zygote, struct environment *environment)
{
    *zygote = (struct zygote){.environment = environment, .child = {.socket = -1, .source = {SOURCE_ZYGOTE, zygote}}};
}

struct zygote *zygote_of(struct engine *engine, pid_t pid)
{
    for (size_t i = 0; i < engine->environment_count; i++) {
        struct environment *environment = &engine->environments[i];
        if (pid == environment->zygote.child.pid)
            return &environment->zygote;
        if (pid == environment->next_zygote.child.pid)
            return &environment->next_zygote;
    }
    return NULL;
}

void zygote_start(struct engine *engine, struct zygote *zygote)
{
    const struct environment *environment = zygote->environment;
    struct jail_plan plan = engine->plan;
    struct wire_message warm = {.type = WIRE_WARM};
    zygote->recipe = zygote == &environment->next_zygote ? environment->wanted : environment->made_for;
    plan.limits = zygote->recipe.limits;
    memcpy(warm.warm.modules, zygote->recipe.modules, sizeof warm.warm.modules);
    zygote->dismissed = false;
    zygote->generation = ++engine->serial;
    zygote->spawned = 0;
    engine_grow(engine);
    if (!child_begin(engine, &zygote->child, BEGUN_ZYGOTE, environment->interpreter)) {
        child_ended(&zygote->child, false);
        return;
    }
    if (wire_send(zygote->child.socket, &warm) != WIRE_OK ||
        wire_send_plan(zygote->child.socket, &plan, sizeof plan) != WIRE_OK)
        log_event(LOG_ERROR, "the zygote did not take its plan");
}

void zygote_lost(struct engine *engine, struct zygote *zygote, int status)
{
    struct environment *environment = zygote->environment;
    uint64_t generation = zygote->generation;
    bool lived = zygote->child.ready && now_us() - zygote->child.started_us > LIVED_US;
    if (!zygote->child.ready && zygote == &environment->zygote && !zygote->dismissed)
        environment->failures++;
    if (zygote == &environment->next_zygote && recipe_waits(environment) && !zygote->dismissed) {
        log_event(LOG_ERROR, "no zygote can be had under the new limits: the old ones stay",
                  log_text("environment", environment->name));
        environment->wanted = environment->made_for;
        reload_done(engine);
    }
    child_ended(&zygote->child, lived);
    if (zygote == &environment->zygote && zygote->dismissed) { /* what it was to be replaced by is the next one */
        environment_take(engine, environment, &environment->wanted);
        reload_done(engine);
    }
    engine->counts.restarts[PROCESS_ZYGOTE] += !zygote->dismissed;
    if (!engine->quit && !zygote->dismissed)
        log_event(LOG_ERROR, "a zygote ended and is started again", log_text("environment", environment->name),
                  log_number("status", status));
    /* What was asked of it and not answered will not come; what it had cloned are our children and live on. */
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct slot *slot = &engine->slots[i];
        if (slot->state == SLOT_SPAWNING && slot->zygote == generation)
            slot_free(engine, slot);
    }
    if (zygote == &environment->zygote)
        runs_move(engine, environment);
}

static struct slot *spawning_slot(struct engine *engine, uint64_t serial)
{
    for (size_t i = 0; i < engine->slot_count; i++) {
        if (engine->slots[i].serial == serial && engine->slots[i].state == SLOT_SPAWNING)
            return &engine->slots[i];
    }
    return NULL;
}

static void zygote_ready(struct engine *engine, struct zygote *zygote, const struct wire_ready *ready)
{
    struct environment *environment = zygote->environment;
    char version[sizeof ready->version], warm[ENVIRONMENT_MODULES];
    const char *modules = zygote->recipe.modules; /* with a blank after each */
    snprintf(version, sizeof version, "%.*s", (int)sizeof ready->version - 1, ready->version);
    snprintf(warm, sizeof warm, "%.*s", (int)strlen(modules) - (*modules != 0), modules);
    zygote->child.ready = true;
    environment->failures = 0;
    log_event(LOG_INFO, "zygote ready", log_number("pid", zygote->child.pid), log_text("interpreter", version),
              log_text("environment", environment->name), log_text("warm", warm),
              log_number("ms", (now_us() - zygote->child.started_us) / 1000));
    if (zygote != &environment->next_zygote)
        return;
    engine->counts.recycled++;
    /* It takes over. The old one leaves when its socket closes; its runs are ours and stay. */
    struct zygote old = environment->zygote;
    for (size_t i = 0; i < engine->slot_count; i++) {
        if (engine->slots[i].state == SLOT_SPAWNING && engine->slots[i].zygote == old.generation)
            slot_free(engine, &engine->slots[i]);
    }
    drop_fd(&old.child.socket);
    child_kill(&old.child); /* its runs are ours, and it holds nothing */
    environment->zygote = environment->next_zygote;
    environment->zygote.child.source = (struct source){SOURCE_ZYGOTE, &environment->zygote};
    zygote_open(&environment->next_zygote, environment);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &environment->zygote.child.source};
    epoll_ctl(engine->epoll, EPOLL_CTL_MOD, environment->zygote.child.socket, &event);
    environment_take(engine, environment, &environment->zygote.recipe);
}

/* Returns false when the zygote broke the protocol. */
static bool zygote_message(struct engine *engine, struct zygote *zygote, struct wire_message *message)
{
    struct slot *slot;
    if (message->type == WIRE_READY && !zygote->child.ready) {
        zygote_ready(engine, zygote, &message->ready);
        return true;
    }
    if (message->type == WIRE_SPAWN_FAILED && message->spawn_failed.slot == 0) {
        log_fault(LOG_ERROR, "a zygote could not be started", &message->spawn_failed.fault);
        /* Another try would import the same. */
        if (strcmp(message->spawn_failed.fault.operation, "import") == 0 && zygote == &zygote->environment->zygote)
            zygote->environment->failures += FAILURES_MOST;
        zygote->environment->fault = message->spawn_failed.fault;
        describe_again(engine);
        return true;
    }
    if (message->type == WIRE_SPAWNED && (slot = spawning_slot(engine, message->spawned.slot))) {
        slot_spawned(engine, slot, message->fds[0]);
        return true;
    }
    if (message->type == WIRE_SPAWN_FAILED && (slot = spawning_slot(engine, message->spawn_failed.slot))) {
        log_fault(LOG_ERROR, "the zygote could not clone", &message->spawn_failed.fault);
        slot->environment->fault = message->spawn_failed.fault;
        slot->environment->failures++;
        engine->counts.jails_failed++;
        slot->environment->spawn_retry_us = now_us() + 200000;
        slot_free(engine, slot);
        return true;
    }
    return false;
}

/* A clone that we could be given no pidfd of ends by itself as its control socket closes. */
static bool spawn_starved(struct engine *engine, const struct wire_message *message)
{
    struct slot *slot = message->type == WIRE_SPAWNED ? spawning_slot(engine, message->spawned.slot) : NULL;
    if (!slot)
        return false;
    engine_starved(engine, "a new jail");
    engine->counts.jails_failed++;
    slot->environment->spawn_retry_us = now_us() + STARVED_US;
    slot_free(engine, slot);
    return true;
}

void zygote_event(struct engine *engine, struct zygote *zygote)
{
    for (int i = 0; i < MESSAGES_AT_ONCE; i++) {
        struct wire_message message;
        int result = wire_receive(zygote->child.socket, LINK_ZYGOTE, false, &message);
        if (result == WIRE_AGAIN)
            return;
        if (result == WIRE_OK && zygote_message(engine, zygote, &message)) {
            if (message.type == WIRE_READY)
                return; /* the struct may have moved */
            continue;
        }
        if (result == WIRE_STARVED && spawn_starved(engine, &message))
            continue;
        if (result == WIRE_OK)
            wire_close_fds(&message);
        if (result != WIRE_CLOSED)
            log_event(LOG_ERROR, "the zygote broke the protocol and is ended");
        child_kill(&zygote->child);
        drop_fd(&zygote->child.socket); /* wait4() tells the rest */
        return;
    }
}

/* A hash seed and an address layout serve a bounded number of runs. */
void zygote_recycle(struct engine *engine, struct environment *environment)
{
    const struct settings *settings = engine->settings;
    const struct zygote *zygote = &environment->zygote;
    uint64_t now = now_us();
    if (!zygote->child.ready || environment->next_zygote.child.pid || engine->draining || engine->front_once ||
        zygote->dismissed || now < environment->next_zygote.child.retry_us)
        return;
    if (recipe_waits(environment) || zygote->spawned >= settings->recycle_runs ||
        now - zygote->child.started_us >= settings->recycle_minutes * 60 * 1000000)
        zygote_start(engine, &environment->next_zygote);
}
