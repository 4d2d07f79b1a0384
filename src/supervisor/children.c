/* The front and the zygotes: started, watched, started again. Each gets a socket as descriptor 3 and nothing else. */
#include "engine.h"

#include "log.h"
#include "policy.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

enum { CHILD_SOCKET = 3, LIVED_US = 1000000, MESSAGES_AT_ONCE = 64 };

/* In a forked child: the socket becomes descriptor 3, everything above it but `keep` is closed at exec. */
static void child_descriptors(int socket)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    if (socket == CHILD_SOCKET)
        fcntl(socket, F_SETFD, 0);
    else
        dup2(socket, CHILD_SOCKET);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

/* Forks with a connected socket. Returns the pid (0 in the child, with *socket its end), or -1. */
static pid_t child_fork(struct engine *engine, struct child *child, int *socket)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -1;
    /* A descriptor 3 of our own must not be overwritten by the dup2 in the child before it is used. */
    pid_t pid = fork();
    if (pid < 0) {
        close(pair[0]);
        close(pair[1]);
        return -1;
    }
    if (pid == 0) {
        *socket = pair[1];
        return 0;
    }
    close(pair[1]);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    child->pid = pid;
    child->socket = pair[0];
    child->ready = false;
    child->started_us = now_us();
    if (engine_watch(engine, child->socket, &child->source))
        log_event(LOG_ERROR, "epoll refused a child's socket", log_number("errno", errno));
    return pid;
}

static void child_ended(struct child *child, bool was_ready)
{
    drop_fd(&child->socket);
    child->pid = 0;
    child->ready = false;
    child->failures = was_ready ? 0 : child->failures + 1;
    uint64_t wait_ms = child->failures == 0 ? 0 : child->failures < 4 ? 100 : 2000;
    child->retry_us = now_us() + wait_ms * 1000;
}

/* ---- front ---- */

static void front_exec(struct engine *engine, int socket)
{
    static const char *const environment[] = {"LANG=C.UTF-8", "PATH=/usr/bin:/bin", NULL};
    uid_t uid = engine->plan.zygote_uid ? engine->plan.zygote_uid + engine->plan.run_uid_count + 1 : 0;
    int program = fcntl(engine->front_program.fd, F_DUPFD_CLOEXEC, 10);
    int input = engine->front_once ? fcntl(STDIN_FILENO, F_DUPFD_CLOEXEC, 10) : -1;
    int output = engine->front_once ? fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 10) : -1;
    child_descriptors(socket);
    if (engine->front_once) {
        /* The command line's client reads the files that its user names, so it stays that user. */
        dup2(input, STDIN_FILENO);
        dup2(output, STDOUT_FILENO);
    } else if (uid && (setgroups(0, NULL) || setresgid(uid, uid, uid) || setresuid(uid, uid, uid))) {
        _exit(126);
    }
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* the uid's change has cleared it */
    /* By descriptor: the path may lie below a directory that only root may enter. */
    syscall(SYS_execveat, program, "", engine->front_program.argv, environment, AT_EMPTY_PATH);
    _exit(127);
}

static void front_setup(struct engine *engine)
{
    const struct settings *settings = engine->settings;
    struct wire_message message = {.type = WIRE_SETUP};
    message.setup = (struct wire_setup){
        .limits = settings->limits,
        .listeners = (uint32_t)engine->listener_count,
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
    message.fds[message.fd_count++] = engine->description;
    for (size_t i = 0; i < engine->listener_count; i++)
        message.fds[message.fd_count++] = engine->listeners[i];
    if (wire_send(engine->front.socket, &message) != WIRE_OK)
        log_event(LOG_ERROR, "the front did not take its setup");
    front_tell_state(engine);
}

void front_start(struct engine *engine)
{
    int socket = -1;
    pid_t pid = child_fork(engine, &engine->front, &socket);
    if (pid == 0)
        front_exec(engine, socket);
    if (pid < 0) {
        log_event(LOG_ERROR, "the front could not be started", log_number("errno", errno));
        child_ended(&engine->front, false);
        return;
    }
    engine->front.ready = true;
    front_setup(engine);
}

void front_tell_state(struct engine *engine)
{
    struct wire_message message = {.type = WIRE_STATE, .state = {.serving = engine->serving}};
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
    if (!engine->unsent_head) {
        engine->unsent_us = now_us();
        front_wait_for(engine, EPOLLOUT);
    }
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
        engine->unsent_us = now_us();
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
        engine->quit = true;
        return;
    }
    log_event(LOG_ERROR, "the front ended and is started again", log_number("status", status));
    runs_orphan(engine);
}

/* ---- zygotes ---- */

/* Tells the supervisor why it is not becoming a zygote; slot 0 is none. */
static void zygote_fail(const struct fault *fault)
{
    struct wire_message message = {.type = WIRE_SPAWN_FAILED, .spawn_failed = {.slot = 0, .fault = *fault}};
    wire_send(CHILD_SOCKET, &message);
    _exit(1);
}

static void zygote_exec(struct engine *engine, int socket)
{
    /* For the C library at its start; the bootstrap takes MALLOC_… and GLIBC_… away from scripts. Without rseq(2) in
     * the first thread glibc does without it in all, and the filter need not allow it. */
    static const char home[] = "HOME=" RUN_WORK;
    static const char *const environment[] = {
        home,
        "PATH=/usr/bin:/bin",
        "LANG=C.UTF-8",
        "MALLOC_ARENA_MAX=1",
        "GLIBC_TUNABLES=glibc.pthread.rseq=0",
        "OPENBLAS_NUM_THREADS=1",
        "OMP_NUM_THREADS=1",
        "MPLBACKEND=Agg",
        "MPLCONFIGDIR=/tmp",
        NULL,
    };
    struct interpreter *interpreter = &engine->interpreter;
    struct fault fault;
    char bootstrap[sizeof engine->library + 16];
    bool rooted = engine->plan.layers & LAYER_BIT(LAYER_ROOT);
    child_descriptors(socket);
    struct jail_path paths[INTERPRETER_PATHS + 2];
    memcpy(paths, interpreter->paths, sizeof interpreter->paths);
    size_t count = interpreter->path_count;
    char extension[sizeof engine->library + 32];
    snprintf(extension, sizeof extension, "%s/_safe_script.abi3.so", engine->library);
    snprintf(bootstrap, sizeof bootstrap, "%s/bootstrap.py", engine->library);
    paths[count++] = (struct jail_path){.host = extension, .at = JAIL_LIB "/_safe_script.abi3.so"};
    paths[count++] = (struct jail_path){.host = bootstrap, .at = JAIL_LIB "/bootstrap.py"};
    struct rlimit stack;
    if (!(engine->plan.layers & LAYER_BIT(LAYER_CGROUP)) && getrlimit(RLIMIT_STACK, &stack) == 0) {
        stack.rlim_cur = JAIL_THREAD_STACK;
        setrlimit(RLIMIT_STACK, &stack);
    }
    if (jail_template(&engine->plan, paths, count, &fault))
        zygote_fail(&fault);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    /* argv[0] with its path: a venv's python finds its prefix by it. */
    const char *const argv[] = {
        interpreter->executable, "-I", "-B", "-X", "utf8", rooted ? JAIL_LIB "/bootstrap.py" : bootstrap, "3", NULL};
    execve(interpreter->executable, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)environment);
    fault_set(&fault, "interpreter", "exec", errno, "%s", interpreter->executable);
    zygote_fail(&fault);
}

void zygote_start(struct engine *engine, struct zygote *zygote)
{
    int socket = -1;
    zygote->generation = ++engine->serial;
    zygote->spawned = 0;
    pid_t pid = child_fork(engine, &zygote->child, &socket);
    if (pid == 0)
        zygote_exec(engine, socket);
    if (pid < 0) {
        log_event(LOG_ERROR, "a zygote could not be started", log_number("errno", errno));
        child_ended(&zygote->child, false);
        return;
    }
    if (wire_send_plan(zygote->child.socket, &engine->plan, sizeof engine->plan) != WIRE_OK)
        log_event(LOG_ERROR, "the zygote did not take its plan");
}

void zygote_lost(struct engine *engine, struct zygote *zygote, int status)
{
    uint64_t generation = zygote->generation;
    bool lived = zygote->child.ready && now_us() - zygote->child.started_us > LIVED_US;
    if (!zygote->child.ready && zygote == &engine->zygote)
        engine->jail_failures++;
    child_ended(&zygote->child, lived);
    if (!engine->quit)
        log_event(LOG_ERROR, "a zygote ended and is started again", log_number("status", status));
    /* What was asked of it and not answered will not come; what it had cloned are our children and live on. */
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct slot *slot = &engine->slots[i];
        if (slot->state == SLOT_SPAWNING && slot->zygote == generation)
            slot_free(engine, slot);
    }
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
    char version[sizeof ready->version];
    snprintf(version, sizeof version, "%.*s", (int)sizeof ready->version - 1, ready->version);
    zygote->child.ready = true;
    log_event(LOG_INFO, "zygote ready", log_number("pid", zygote->child.pid), log_text("interpreter", version),
              log_number("ms", (now_us() - zygote->child.started_us) / 1000));
    if (zygote != &engine->next_zygote)
        return;
    /* It takes over. The old one leaves when its socket closes; its runs are ours and stay. */
    struct zygote old = engine->zygote;
    for (size_t i = 0; i < engine->slot_count; i++) {
        if (engine->slots[i].state == SLOT_SPAWNING && engine->slots[i].zygote == old.generation)
            slot_free(engine, &engine->slots[i]);
    }
    drop_fd(&old.child.socket);
    child_kill(&old.child); /* its runs are ours, and it holds nothing */
    engine->zygote = engine->next_zygote;
    engine->zygote.child.source = (struct source){SOURCE_ZYGOTE, &engine->zygote};
    engine->next_zygote = (struct zygote){.child = {.socket = -1, .source = {SOURCE_ZYGOTE, &engine->next_zygote}}};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &engine->zygote.child.source};
    epoll_ctl(engine->epoll, EPOLL_CTL_MOD, engine->zygote.child.socket, &event);
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
        engine->jail_fault = message->spawn_failed.fault;
        return true;
    }
    if (message->type == WIRE_SPAWNED && (slot = spawning_slot(engine, message->spawned.slot))) {
        slot_spawned(engine, slot, message->fds[0]);
        return true;
    }
    if (message->type == WIRE_SPAWN_FAILED && (slot = spawning_slot(engine, message->spawn_failed.slot))) {
        log_fault(LOG_ERROR, "the zygote could not clone", &message->spawn_failed.fault);
        engine->jail_fault = message->spawn_failed.fault;
        engine->jail_failures++;
        engine->spawn_retry_us = now_us() + 200000;
        slot_free(engine, slot);
        return true;
    }
    return false;
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
void zygote_recycle(struct engine *engine)
{
    const struct settings *settings = engine->settings;
    const struct zygote *zygote = &engine->zygote;
    uint64_t now = now_us();
    if (!zygote->child.ready || engine->next_zygote.child.pid || engine->draining || engine->front_once ||
        now < engine->next_zygote.child.retry_us)
        return;
    if (zygote->spawned >= settings->recycle_runs ||
        now - zygote->child.started_us >= settings->recycle_minutes * 60 * 1000000)
        zygote_start(engine, &engine->next_zygote);
}
