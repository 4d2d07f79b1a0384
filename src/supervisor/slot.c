/* One jail's life. States and what moves between them:
 *
 *   FREE ──spawn──▶ SPAWNING ──SPAWNED──▶ ENTERING ──JAILED──▶ WAITING ──start──▶ RUNNING ──wait4()──▶ FREE
 *                      │ zygote died, failed  │ JAIL_FAILED, too slow                │ limits, cancel
 *                      └────────▶ FREE        └────────▶ DYING ──wait4()──▶ FREE     └──▶ killed, still RUNNING
 */
#include "engine.h"

#include "log.h"
#include "named.h"
#include "outcome.h"
#include "policy.h"
#include "scope.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>

enum {
    WATCHDOG_US = 20000, /* how often a run's memory is looked at where no cgroup counts it */
    LOOK_LEAST_US = 5000,
    OOM_LOOKS = 20,
    STARTS_MOST = 10, /* jails die in their own time: several of a killed pool may take a run before they are gone */
    DISK_SAID_US = 60000000, /* how often the log is told that the runs' directory is full */
    OUTSIDE_CPU_US = 500000, /* the kernel counts RLIMIT_CPU by ticks: on a busy machine far from what was used */
};

void slot_set_state(struct engine *engine, struct slot *slot, enum slot_state state)
{
    struct environment *environment = slot->environment;
    engine->in_state[slot->state]--;
    engine->in_state[state]++;
    environment->in_state[slot->state] -= slot->state != SLOT_FREE;
    environment->in_state[state] += state != SLOT_FREE;
    slot->state = state;
    slot->state_us = now_us();
}

/* Everything of this life; the cgroup stays for the next. */
static void slot_close(struct slot *slot)
{
    struct fault fault;
    if (slot->box && box_free(slot->box, &fault))
        log_fault(LOG_WARNING, "a run's box could not be removed", &fault);
    slot->box = NULL;
    drop_fd(&slot->pidfd);
    drop_fd(&slot->control);
    drop_fd(&slot->listener);
    drop_fd(&slot->report);
    drop_fd(&slot->out);
    drop_fd(&slot->err);
}

/* All that was in a pid namespace has ended before its first process can be reaped. */
static bool is_dead(const struct engine *engine, const struct slot *slot)
{
    return slot->reaped && engine->plan.engine == ENGINE_CLONE && (jail_clone_flags(&engine->plan) & CLONE_NEWPID);
}

void slot_free(struct engine *engine, struct slot *slot)
{
    struct fault fault;
    if (slot->cgroup && !is_dead(engine, slot) && cgroup_kill(slot->cgroup, &fault)) {
        /* Something in it would not die: never reuse it. */
        log_fault(LOG_WARNING, "a cgroup could not be emptied", &fault);
        cgroup_free(slot->cgroup);
        slot->cgroup = NULL;
    }
    slot_close(slot);
    slot_set_state(engine, slot, SLOT_FREE);
    slot->environment = NULL;
    engine->memory_held -= slot->memory;
    slot->memory = 0;
    slot->next_free = engine->free_slots;
    engine->free_slots = slot;
}

/* The run's ends of its descriptors, for SPAWN. */
struct ends {
    int fds[4];
};

static void ends_close(struct ends *ends)
{
    for (int i = 0; i < 4; i++)
        drop_fd(&ends->fds[i]);
}

static int slot_open_pipes(struct slot *slot, struct ends *ends)
{
    int pair[2];
    int *const ours[] = {&slot->report, &slot->out, &slot->err};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return -1;
    slot->control = pair[0];
    ends->fds[0] = pair[1];
    fcntl(slot->control, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < 3; i++) {
        if (pipe2(pair, O_CLOEXEC))
            return -1;
        *ours[i] = pair[0];
        ends->fds[1 + i] = pair[1];
    }
    return 0;
}

static int slot_prepare_box(struct engine *engine, struct slot *slot, struct fault *fault)
{
    if (!engine->boxes)
        return 0;
    slot->box = box_new(engine->boxes, slot->uid ? slot->uid : engine->plan.zygote_uid, fault);
    return slot->box ? 0 : -1;
}

static int slot_prepare_cgroup(struct engine *engine, struct slot *slot, struct fault *fault)
{
    struct limits limits = slot->environment->made_for.limits;
    limits.value[LIMIT_DISK] = slot->disk_bytes;
    if (!engine->cgroups)
        return 0;
    if (!slot->cgroup) {
        slot->cgroup = cgroup_new(engine->cgroups, fault);
        if (!slot->cgroup)
            return -1;
        int event = cgroup_oom_event(slot->cgroup);
        if (event >= 0 && engine_watch(engine, event, &slot->oom_source))
            return fault_set(fault, "supervisor", "epoll_ctl", errno, "a cgroup's event");
    }
    return cgroup_reset(slot->cgroup, &limits, fault);
}

/* What SPAWN takes along: the run's ends of its pipes, its cgroup, its box. */
static void spawn_describe(const struct jail_plan *plan, const struct slot *slot, const struct ends *ends,
                           struct wire_message *message)
{
    *message = (struct wire_message){.type = WIRE_SPAWN, .fd_count = 4};
    message->spawn = (struct wire_spawn){.slot = slot->serial, .disk_bytes = slot->disk_bytes, .uid = slot->uid};
    memcpy(message->fds, ends->fds, sizeof ends->fds);
    int into = slot->cgroup ? cgroup_clone_fd(slot->cgroup) : -1;
    if (into >= 0 && plan->engine == ENGINE_CLONE) { /* a tool around the run would be in it, too */
        message->spawn.has_cgroup = 1;
        message->fds[message->fd_count++] = into;
    } else if (slot->cgroup) {
        message->spawn.joins = (uint32_t)cgroup_procs_fds(slot->cgroup, message->fds + message->fd_count);
        message->fd_count += (int)message->spawn.joins;
    }
    if (slot->box)
        snprintf(message->spawn.box, sizeof message->spawn.box, "%s", box_name(slot->box));
}

static void spawn_failed(struct engine *engine, struct environment *environment, const struct fault *fault)
{
    environment->fault = *fault;
    environment->failures++;
    engine->counts.jails_failed++;
    uint64_t wait_ms = environment->failures < 3 ? 10 : environment->failures < 10 ? 200 : 2000;
    environment->spawn_retry_us = now_us() + wait_ms * 1000;
    if (environment->failures == 1 || environment->failures == 3 || environment->failures % 30 == 0)
        log_fault(LOG_ERROR, "a jail could not be made", fault);
}

void slot_spawn(struct engine *engine, struct environment *environment, uint64_t disk_bytes)
{
    struct slot *slot = engine->free_slots;
    struct fault fault;
    struct ends ends = {{-1, -1, -1, -1}};
    if (!slot || !environment->zygote.child.ready)
        return;
    slot->environment = environment;
    slot->disk_bytes = disk_bytes;
    slot->serial = ++engine->serial;
    slot->zygote = environment->zygote.generation;
    slot->killed = slot->reaped = slot->wanted = false;
    slot->ended = -1;
    slot->refusals = slot->signals = slot->answers = 0;
    slot->oom_looks = 0;
    slot->layers = 0;
    slot->pid = slot->script = 0;
    slot->uid = 0;
    slot->facts = (struct facts){0};
    if (engine->plan.supervisor_maps || engine->plan.run_sets_ids)
        slot->uid = engine->plan.run_uid_base + (uint32_t)(engine->uid_next++ % engine->plan.run_uid_count);
    if (slot_prepare_box(engine, slot, &fault)) {
        spawn_failed(engine, environment, &fault);
        return;
    }
    if (slot_prepare_cgroup(engine, slot, &fault)) {
        if (slot->cgroup)
            cgroup_free(slot->cgroup); /* the next try makes a new one */
        slot->cgroup = NULL;
        slot_close(slot);
        spawn_failed(engine, environment, &fault);
        return;
    }
    if (slot_open_pipes(slot, &ends)) {
        fault_set(&fault, "supervisor", "pipe2", errno, "a run's pipes");
        spawn_failed(engine, environment, &fault);
        ends_close(&ends);
        slot_close(slot);
        return;
    }
    struct wire_message message;
    spawn_describe(&engine->plan, slot, &ends, &message);
    int sent = wire_send(environment->zygote.child.socket, &message);
    ends_close(&ends);
    if (sent != WIRE_OK) {
        slot_close(slot); /* AGAIN: tried again at the next balance; CLOSED: its death is noticed elsewhere */
        if (sent == WIRE_BROKEN) {
            fault_set(&fault, "supervisor", "sendmsg", errno, "an order to the zygote");
            spawn_failed(engine, environment, &fault);
        }
        return;
    }
    engine->free_slots = slot->next_free;
    environment->zygote.spawned++;
    slot_set_state(engine, slot, SLOT_SPAWNING);
}

static bool is_known(struct engine *engine, pid_t pid)
{
    return slot_of(engine, pid) || pid == engine->front.pid || zygote_of(engine, pid) || pid == engine->tls.child.pid;
}

/* The process that a pidfd names, by the kernel's word and not the zygote's; 0 when it is not a child of ours. */
static pid_t pidfd_child(int pidfd)
{
    char path[64], text[512];
    siginfo_t info;
    struct named named = {.mask = NAMED_PID};
    if (ioctl(pidfd, NAMED_ASK, &named) == 0)
        return named.parent == (uint32_t)getpid() ? (pid_t)named.pid : 0;
    if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | WNOWAIT))
        return 0;
    snprintf(path, sizeof path, "/proc/self/fdinfo/%d", pidfd);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length <= 0)
        return 0;
    text[length] = 0;
    const char *line = strstr(text, "\nPid:\t");
    long pid = line ? strtol(line + 6, NULL, 10) : 0;
    return pid > 0 ? (pid_t)pid : 0;
}

/* One message is to come. It is forgotten with the last descriptor of this end. */
static int slot_await(struct engine *engine, struct slot *slot, int operation)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.ptr = &slot->control_source};
    return epoll_ctl(engine->epoll, operation, slot->control, &event);
}

void slot_spawned(struct engine *engine, struct slot *slot, int pidfd)
{
    struct environment *environment = slot->environment;
    struct fault fault;
    struct wire_message enter = {.type = WIRE_ENTER};
    slot->pidfd = pidfd;
    pid_t pid = pidfd_child(pidfd);
    /* Ours already: another run, the front, a zygote. Gone already: it could not even begin. */
    bool known = is_known(engine, pid);
    if (!pid || known) {
        fault_set(&fault, "zygote", "clone", 0, "%s",
                  known ? "it named a process that is no new run" : "the run is gone");
        spawn_failed(engine, environment, &fault);
        slot_free(engine, slot);
        return;
    }
    slot->pid = slot->script = pid;
    slot_set_state(engine, slot, SLOT_ENTERING);
    if (slot_await(engine, slot, EPOLL_CTL_ADD)) {
        fault_set(&fault, "supervisor", "epoll_ctl", errno, "a run's connection");
        slot_failed(engine, slot, &fault);
    } else if (!engine->plan.supervisor_maps) {
        wire_send(slot->control, &enter); /* where it has ended already, its last word is still there to be read */
    } else if (starter_map(engine, slot, &fault)) {
        slot_failed(engine, slot, &fault);
    }
}

void slot_failed(struct engine *engine, struct slot *slot, const struct fault *fault)
{
    spawn_failed(engine, slot->environment, fault);
    slot_kill(engine, slot, CAUSE_LOST);
}

/* Where a tool is put around the run, our child is the tool. It ends once all inside has ended, so what is to be
 * watched and killed is its child: the first process of the run's pid namespace, which has just told us that it is
 * jailed. */
static bool find_script(const struct engine *engine, struct slot *slot)
{
    if (engine->plan.engine == ENGINE_CLONE)
        return true;
    slot->script = watch_only_child(slot->pid);
    int pidfd = slot->script ? (int)syscall(SYS_pidfd_open, slot->script, 0) : -1;
    if (pidfd < 0 || watch_only_child(slot->pid) != slot->script) {
        scope_close(&pidfd);
        return false;
    }
    drop_fd(&slot->pidfd);
    slot->pidfd = pidfd;
    return true;
}

/* JAILED or JAIL_FAILED, before a byte of a script has reached the run; anything else is its end. */
void slot_control(struct engine *engine, struct slot *slot)
{
    struct wire_message message;
    if (slot->state != SLOT_ENTERING)
        return;
    int result = wire_receive(slot->control, LINK_RUN, false, &message);
    if (result == WIRE_AGAIN) { /* told of the slot's last life, whose other end the starter still had */
        slot_await(engine, slot, EPOLL_CTL_MOD);
        return;
    }
    if (result == WIRE_OK && message.type == WIRE_JAILED) {
        slot->layers = message.jailed.layers | (engine->plan.layers & LAYER_BIT(LAYER_SUPERVISOR));
        if (slot->cgroup)
            slot->layers |= LAYER_BIT(LAYER_CGROUP);
        slot->listener = message.fd_count ? message.fds[0] : -1;
        slot->notified = message.fd_count > 0;
        if ((engine->plan.layers & ~slot->layers) == 0 && find_script(engine, slot) &&
            (slot->listener < 0 || engine_watch(engine, slot->listener, &slot->listener_source) == 0)) {
            slot->environment->failures = 0;
            engine->counts.jails_made++;
            slot_set_state(engine, slot, SLOT_WAITING);
            return;
        }
        fault_set(&message.spawn_failed.fault, "supervisor", "check", 0, "a run's layers are 0x%x, planned are 0x%x",
                  slot->layers, engine->plan.layers);
    } else if (result == WIRE_STARVED) {
        fault_set(&message.spawn_failed.fault, "supervisor", "receive", EMFILE, "a run's listener");
    } else if (result != WIRE_OK) {
        fault_set(&message.spawn_failed.fault, "supervisor", "receive", 0, "a run ended before it was jailed");
    }
    slot_failed(engine, slot, &message.spawn_failed.fault);
}

/* Starts the run's script in a waiting jail. */
void slot_start(struct engine *engine, struct slot *slot, struct run *run)
{
    struct fault fault;
    struct wire_message start = {.type = WIRE_START, .fd_count = run->input < 0 ? 1 : 2, .fds = {run->job, run->input}};
    struct wire_message started = {.type = WIRE_STARTED, .fd_count = 3, .fds = {slot->report, slot->out, slot->err}};
    uint64_t now = now_us();
    start.start.limits = run->limits;
    started.started = (struct wire_started){
        .id = run->id, .limits = run->limits, .environment = environment_named(run->environment)->number};
    slot->run = run;
    run->slot = slot;
    slot->started_us = engine->started_us = now;
    slot->facts = (struct facts){.queued_us = now - run->asked_us, .layers = slot->layers};
    run->started_us = run->started_us ? run->started_us : now;
    run->starts++;
    slot->wall_deadline_us = run->started_us + run->limits.value[LIMIT_WALL] * 1000;
    slot->look_us = now + run->limits.value[LIMIT_CPU] * 1000 / engine->cores;
    if (!slot->cgroup || slot->box)
        slot->look_us = now + WATCHDOG_US;
    if (!engine_watches(engine))
        slot->wall_deadline_us = slot->look_us = UINT64_MAX;
    slot->memory = run->asked->made_for.limits.value[LIMIT_MEMORY];
    engine->memory_held += slot->memory;
    run->environment->needed_us = now;
    slot_set_state(engine, slot, SLOT_RUNNING);
    if (slot->cgroup && memcmp(&run->limits, &slot->environment->made_for.limits, sizeof run->limits) != 0 &&
        cgroup_lower(slot->cgroup, &run->limits, &fault)) {
        log_fault(LOG_ERROR, "a run's limits could not be set", &fault);
        slot_kill(engine, slot, CAUSE_LOST);
        return;
    }
    if (wire_send(slot->control, &start) != WIRE_OK) {
        /* It died while it waited; nothing of the run has begun. */
        slot->run = NULL;
        run->starts--;
        slot_set_state(engine, slot, SLOT_DYING);
        slot_kill(engine, slot, CAUSE_LOST);
        run_requeue(engine, run);
        return;
    }
    if (run->id)
        front_send(engine, &started);
    drop_fd(&slot->control);
    drop_fd(&slot->report);
    drop_fd(&slot->out);
    drop_fd(&slot->err);
}

void slot_kill(struct engine *engine, struct slot *slot, enum cause cause)
{
    if (slot->killed)
        return;
    slot->killed = true;
    slot->facts.cause = cause;
    /* In a pid namespace this is its init: the kernel kills the rest before wait4() tells of it. */
    if (slot->pidfd >= 0)
        syscall(SYS_pidfd_send_signal, slot->pidfd, SIGKILL, NULL, 0);
    if (slot->state == SLOT_ENTERING || slot->state == SLOT_WAITING)
        slot_set_state(engine, slot, SLOT_DYING);
}

/* Whether the kernel killed for the run's own limit. What it kills for want of memory above the run, the container's or
 * the machine's, is counted in the run's cgroup as well, and is nothing that the script did. */
static bool is_own_want(const struct cgroup_usage *usage, const struct limits *limits)
{
    uint64_t limit = limits->value[LIMIT_MEMORY];
    return !usage->memory_peak_bytes || usage->memory_peak_bytes >= limit - limit / 16;
}

/* CPU of the run so far: of its cgroup, or of its process where threads are all that it can have. On the way: what it
 * must be killed for if the kernel has killed a process of it for want of memory; its cgroup's count tells the rest. */
static uint64_t slot_cpu_us(struct slot *slot, bool *out_of_memory, enum cause *cause)
{
    struct cgroup_usage usage;
    struct fault fault;
    struct timespec time;
    if (slot->cgroup && cgroup_usage(slot->cgroup, &usage, &fault) == 0) {
        *out_of_memory = usage.oom_kills > 0;
        *cause = is_own_want(&usage, &slot->run->limits) ? CAUSE_NONE : CAUSE_LOST;
        return usage.cpu_us;
    }
    clockid_t clock = (clockid_t)((~(unsigned)slot->script << 3) | 2); /* CPUCLOCK_SCHED of that process */
    if (clock_gettime(clock, &time))
        return 0;
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

/* The run's cgroup is out of memory, says the kernel, and will kill one of its processes; the rest must not go on as if
 * nothing had been. */
void slot_oom(struct slot *slot)
{
    uint64_t count;
    if (slot->cgroup && read(cgroup_oom_event(slot->cgroup), &count, sizeof count) == sizeof count &&
        slot->state == SLOT_RUNNING) {
        slot->oom_looks = OOM_LOOKS;
        slot->look_us = 0;
    }
}

static bool box_is_overfull(struct slot *slot, const struct limits *limits)
{
    struct box_usage usage;
    return slot->box && box_usage(slot->box, &usage) &&
           (usage.bytes > limits->value[LIMIT_DISK] || usage.inodes > limits->value[LIMIT_INODES]);
}

/* In place of a cgroup. */
static void look_at_process(struct engine *engine, struct slot *slot, const struct limits *limits)
{
    struct watched watched = watch_process(slot->script);
    if (watched.memory_bytes > slot->facts.memory_peak_bytes)
        slot->facts.memory_peak_bytes = watched.memory_bytes;
    if (watched.threads > slot->facts.processes_peak)
        slot->facts.processes_peak = watched.threads;
    if (watched.memory_bytes > limits->value[LIMIT_MEMORY]) {
        slot->facts.oom_kills = 1;
        slot_kill(engine, slot, CAUSE_NONE);
    } else if (watched.threads > limits->value[LIMIT_PROCESSES] || watched.children) {
        slot_kill(engine, slot, CAUSE_PROCESSES);
    }
}

/* Called when wall_deadline_us or look_us has passed. */
void slot_look(struct engine *engine, struct slot *slot, uint64_t now)
{
    /* Where we are late it may have asked for its end long ago. */
    struct pollfd listener = {.fd = slot->listener, .events = POLLIN};
    if (now >= slot->wall_deadline_us && poll(&listener, 1, 0) > 0)
        slot_notified(engine, slot, listener.revents & POLLIN);
    if (!slot->run)
        return;
    if (slot->killed || slot->ended >= 0) {
        slot->wall_deadline_us = slot->look_us = UINT64_MAX;
        return;
    }
    const struct limits *limits = &slot->run->limits;
    enum cause memory = CAUSE_NONE;
    bool out_of_memory = false;
    uint64_t used = slot_cpu_us(slot, &out_of_memory, &memory);
    uint64_t limit = engine_watches(engine) ? limits->value[LIMIT_CPU] * 1000 : UINT64_MAX / 2;
    if (used >= limit) {
        slot_kill(engine, slot, CAUSE_CPU);
        return;
    }
    if (now >= slot->wall_deadline_us) {
        bool its_own = now >= slot->started_us + limits->value[LIMIT_WALL] * 1000;
        if (!its_own)
            slot->run->starts = UINT_MAX; /* an earlier start and the wait for this one took its time: not the script */
        slot_kill(engine, slot, its_own ? CAUSE_WALL : CAUSE_LOST);
        return;
    }
    if (out_of_memory) {
        slot_kill(engine, slot, memory);
        return;
    }
    uint64_t next = (limit - used) / engine->cores;
    if (slot->oom_looks) {
        slot->oom_looks--;
        next = LOOK_LEAST_US;
    }
    slot->look_us = now + (next < LOOK_LEAST_US ? LOOK_LEAST_US : next);
    if (slot->look_us > now + WATCHDOG_US && (!slot->cgroup || slot->box))
        slot->look_us = now + WATCHDOG_US;
    if (box_is_overfull(slot, limits)) {
        slot_kill(engine, slot, CAUSE_DISK);
        return;
    }
    if (!slot->cgroup)
        look_at_process(engine, slot, limits);
}

/* NULL: it has not been reaped yet. */
static void slot_take_usage(struct slot *slot, const struct rusage *usage, const struct limits *limits)
{
    struct cgroup_usage counted;
    struct fault fault;
    struct facts *facts = &slot->facts;
    if (usage)
        facts->cpu_us = (uint64_t)(usage->ru_utime.tv_sec + usage->ru_stime.tv_sec) * 1000000 +
                        (uint64_t)(usage->ru_utime.tv_usec + usage->ru_stime.tv_usec);
    if (!slot->cgroup)
        return;
    if (cgroup_usage(slot->cgroup, &counted, &fault)) {
        log_fault(LOG_WARNING, "a run's usage could not be read", &fault);
        return;
    }
    if (counted.cpu_us > facts->cpu_us)
        facts->cpu_us = counted.cpu_us;
    facts->memory_peak_bytes = counted.memory_peak_bytes;
    facts->processes_peak = counted.processes_peak;
    facts->oom_kills = is_own_want(&counted, limits) ? counted.oom_kills : 0;
    slot->wanted = counted.oom_kills && !facts->oom_kills;
    facts->fork_denied = counted.fork_denied;
}

static void take_disk(struct engine *engine, struct slot *slot, const struct limits *limits)
{
    uint64_t now = now_us();
    if (!slot->box || !box_is_short(slot->box, limits->value[LIMIT_DISK], limits->value[LIMIT_INODES]))
        return;
    slot->facts.disk_short = 1;
    if (engine->disk_told_us && now < engine->disk_told_us + DISK_SAID_US)
        return;
    engine->disk_told_us = now;
    log_event(LOG_ERROR, "the runs' directory is full of others' files", log_text("directory", engine->plan.boxes));
}

/* SIGKILL that neither we, nor the script itself, nor a limit sent: something outside killed the run. A script can have
 * the kernel do it by lowering its own RLIMIT_CPU, to a second at the least. */
static bool killed_from_outside(const struct engine *engine, const struct slot *slot, int status)
{
    const struct facts *facts = &slot->facts;
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL && !slot->killed && !facts->self_signal &&
           !facts->oom_kills &&
           (slot->wanted ||
            (facts->cpu_us < OUTSIDE_CPU_US && slot->notified && (engine->plan.layers & LAYER_BIT(LAYER_NAMESPACES))));
}

/* What a dead child has left behind and what has so become ours (PR_SET_CHILD_SUBREAPER).
 *
 * Of a clone, without a pid namespace or a cgroup: the run's other processes, in its session or in one of their own; a
 * fresh clone that has not been named to us yet is still in ours. Only where both the filter and the limit of processes
 * are gone can there be any. Of a tool: what it had begun and had not bound to its own life yet, all in its session. */
static bool is_left(struct engine *engine, pid_t pid, pid_t ended)
{
    pid_t session = getsid(pid);
    return pid > 0 && !is_known(engine, pid) &&
           (engine->plan.engine == ENGINE_CLONE ? session != getsid(0) : session == ended);
}

void slots_end_orphans(struct engine *engine, pid_t ended)
{
    enum { PASSES_MOST = 100 };
    bool found = engine_watches(engine) && engine_has_orphans(engine);
    for (int pass = 0; found && pass < PASSES_MOST; pass++) {
        char text[4096];
        auto_fd int fd = open("/proc/thread-self/children", O_RDONLY | O_CLOEXEC);
        ssize_t length = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        text[length > 0 ? length : 0] = 0;
        found = false;
        for (char *at = text, *end; *at; at = end) {
            pid_t pid = (pid_t)strtol(at, &end, 10);
            if (end == at)
                break;
            if (!is_left(engine, pid, ended))
                continue;
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            found = true;
        }
    }
}

/* A tool that was itself killed has not waited for what is inside. Once that is known to us the kernel has its end
 * ordered as well; before, it may not have come to asking for that. */
static void end_inside(struct engine *engine, const struct slot *slot, int status)
{
    enum { PATIENCE_MS = 1000 };
    struct pollfd inside = {.fd = slot->pidfd, .events = POLLIN};
    if (engine->plan.engine == ENGINE_CLONE || !WIFSIGNALED(status) || slot->pidfd < 0)
        return;
    if (slot->script == slot->pid) {
        slots_end_orphans(engine, slot->pid);
        return;
    }
    syscall(SYS_pidfd_send_signal, slot->pidfd, SIGKILL, NULL, 0);
    poll(&inside, 1, PATIENCE_MS);
}

/* The run's first process asked us to end it, which we did, and since then its filter has lost its last user: the
 * kernel counts a task out when it begins to exit, past the last instruction and system call of its own (kernel/exit.c,
 * since Linux 6.11; before, when it is reaped). So nothing of the jail can do anything any more. What is left is the
 * kernel's own work, which nobody need wait for. */
void slot_over(struct engine *engine, struct slot *slot)
{
    struct run *run = take(slot->run);
    slot->facts.wait_status = W_EXITCODE(slot->ended, 0);
    slot->facts.wall_us = now_us() - slot->started_us;
    slot_take_usage(slot, NULL, &run->limits);
    take_disk(engine, slot, &run->limits);
    slot_set_state(engine, slot, SLOT_DYING);
    run_finish(engine, run, &slot->facts);
}

/* The kernel's last word: the process has ended, and with a pid namespace everything in it. */
void slot_reaped(struct engine *engine, struct slot *slot, int status, const struct rusage *usage)
{
    struct run *run = slot->run;
    struct fault fault;
    slot->run = NULL;
    end_inside(engine, slot, status);
    status = outer_status(engine->plan.engine, status);
    slot->reaped = true;
    if (!run) {
        if (slot->state == SLOT_WAITING || slot->state == SLOT_ENTERING)
            log_event(LOG_WARNING, "a waiting jail ended", log_number("pid", slot->pid), log_number("status", status));
        slot_free(engine, slot);
        return;
    }
    if (slot->cgroup && !is_dead(engine, slot))
        cgroup_kill(slot->cgroup, &fault); /* before the usage: what a missing pid namespace let live */
    if (engine->plan.engine == ENGINE_CLONE)
        slots_end_orphans(engine, slot->pid);
    if (slot->ended >= 0)
        status = W_EXITCODE(slot->ended, 0);
    slot->facts.wait_status = status;
    slot->facts.wall_us = now_us() - slot->started_us;
    slot_take_usage(slot, usage, &run->limits);
    take_disk(engine, slot, &run->limits);
    slot->run = run;
    bool outside = killed_from_outside(engine, slot, status);
    slot->run = NULL;
    if ((slot->facts.cause == CAUSE_WALL || slot->facts.cause == CAUSE_CPU) && WIFEXITED(status))
        slot->facts.cause = CAUSE_NONE; /* it came to its end before our signal did */
    if ((outside || slot->facts.cause == CAUSE_LOST) && run->starts < STARTS_MOST && !engine->quit) {
        engine->counts.runs_restarted++;
        log_event(LOG_WARNING, "a run was killed from outside and is started anew", log_number("pid", slot->pid));
        slot_free(engine, slot);
        run_requeue(engine, run);
        return;
    }
    if (outside)
        slot->facts.cause = CAUSE_LOST;
    struct facts facts = slot->facts;
    slot_free(engine, slot);
    run_finish(engine, run, &facts);
}
