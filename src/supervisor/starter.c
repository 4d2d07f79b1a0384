/* The starter: a child of the supervisor that begins the others.
 *
 * To put a process into the jail's template takes every privilege that the server was started with; to watch over runs
 * takes almost none. So the starter is forked before the supervisor gives up its own, and keeps them for three orders:
 * begin a front, begin a zygote, write a run's id maps. What is begun, and how, is fixed when the starter is forked: an
 * order has no path, no argument, no environment and no uid but one of the runs', and of interpreters a number among
 * those that there were. Whatever it begins is the supervisor's own child (CLONE_PARENT). It reads nothing but orders,
 * and ends with the supervisor.
 *
 * For what it begins the supervisor waits; for the maps it does not: the starter lets the run go on itself, and says
 * something only where it could not write them.
 *
 * The front is begun in the same template as a zygote, under a uid of its own: empty net, uts and ipc namespaces (it
 * gets its listening sockets from the supervisor, and can make none that lead anywhere), the minimal read-only root, no
 * capability in any set. The rest it does itself (lib/sandbox.c). The TLS process is begun likewise. */
#include "engine.h"

#include "log.h"
#include "policy.h"
#include "sandbox.h"
#include "scope.h"
#include "turns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* The starter's descriptors, and its children's: their socket takes the place of ORDERS. JAIL_PROC_FD is the jail's. */
enum { ORDERS = 3, FRONT_PROGRAM = JAIL_PROC_FD + 1, TLS_PROGRAM };

enum { ANSWER_US = 20000000 };

/* Whom the kernel is to end first when the machine is out of memory; the supervisor comes last. */
enum { OOM_FRONT = 100, OOM_ZYGOTE = 500, OOM_MOST = 1000 };

/* What the template and the maps take: mounts, namespaces, other uids, the end of all capabilities; and to read an
 * interpreter that only root may reach. */
enum {
    KEPT = 1 << CAP_SYS_ADMIN | 1 << CAP_SYS_CHROOT | 1 << CAP_SETUID | 1 << CAP_SETGID | 1 << CAP_SETPCAP |
           1 << CAP_DAC_READ_SEARCH
};

/* ---- in what it begins ---- */

/* To raise it takes no privilege; a file there is root's while we are not dumpable, as execve will make us anyway. */
static void raise_oom_score(int points)
{
    char text[16];
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    auto_fd int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length <= 0)
        return;
    text[length] = 0;
    long score = strtol(text, NULL, 10) + points;
    length = snprintf(text, sizeof text, "%ld", score < OOM_MOST ? score : OOM_MOST);
    (void)!pwrite(fd, text, (size_t)length, 0); /* where it is refused, the kernel's own choice has to do */
}

static void take_descriptors(bool keep_streams)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    int null = keep_streams ? -1 : open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
}

/* The command line's client reads the files that its user names, so it stays that user, outside of the template. */
static int program_template(struct engine *engine, const struct program *program, uint32_t uid, struct fault *fault)
{
    struct jail_path path = {.host = program->path};
    struct jail_plan plan = engine->programs_plan;
    plan.zygote_uid = uid;
    plan.namespaces = 0; /* it makes no runs */
    plan.run_sets_ids = false;
    plan.boxes[0] = 0;
    return engine->front_once ? 0 : jail_template(&plan, &path, 1, fault);
}

static void program_exec(struct engine *engine, const struct program *program, int fd, uint32_t uid)
{
    static const char *const environment[] = {"LANG=C.UTF-8", "PATH=/usr/bin:/bin", NULL};
    struct fault fault;
    take_descriptors(engine->front_once);
    raise_oom_score(OOM_FRONT);
    if (program_template(engine, program, uid, &fault) == 0) {
        close_range(JAIL_SHOWN_FD, ~0U, 0); /* for runs */
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0); /* the uid's change has cleared it */
        /* By descriptor: the path may lie below a directory that only root may enter, and not in the new root. */
        syscall(SYS_execveat, fd, "", program->argv, environment, AT_EMPTY_PATH);
        fault_set(&fault, "starter", "exec", errno, "%s", program->path);
    }
    log_fault(LOG_ERROR, "a program could not be started", &fault);
    _exit(1);
}

static void front_exec(struct engine *engine, const struct wire_begin *order)
{
    (void)order;
    program_exec(engine, &engine->front_program, FRONT_PROGRAM, engine->plan.front_uid);
}

static void tls_exec(struct engine *engine, const struct wire_begin *order)
{
    (void)order;
    program_exec(engine, &engine->tls_program, TLS_PROGRAM, engine->plan.tls_uid);
}

/* Tells the supervisor why it is not becoming a zygote; slot 0 is none. */
static void zygote_fail(const struct fault *fault)
{
    struct wire_message message = {.type = WIRE_SPAWN_FAILED, .spawn_failed = {.slot = 0, .fault = *fault}};
    wire_send(ORDERS, &message);
    _exit(1);
}

/* Another make of jail is put around each run, so nothing is around the one who begins them but its uid. */
static void launcher_exec(struct engine *engine, const struct interpreter *interpreter, const struct jail_path *paths,
                          size_t count, char *const argv[], char *const environment[])
{
    struct words words = {.count = 0};
    struct jail_plan plan = engine->plan;
    struct fault fault;
    char launcher[sizeof engine->library + 32];
    snprintf(launcher, sizeof launcher, "%s/safe-script-launch", engine->library);
    words_add(&words, launcher);
    words_add(&words, interpreter->version);
    if (outer_command(&engine->outer, paths, count, &words, &fault))
        zygote_fail(&fault);
    for (size_t i = 0; argv[i]; i++)
        words_add(&words, argv[i]);
    plan.layers &= LAYER_BIT(LAYER_IDENTITY);
    plan.template_namespaces = 0;
    if (jail_template(&plan, NULL, 0, &fault))
        zygote_fail(&fault);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    execve(launcher, (char *const *)(uintptr_t)words.word, environment);
    fault_set(&fault, "engine", "exec", errno, "%s", launcher);
    zygote_fail(&fault);
}

static void zygote_exec(struct engine *engine, const struct wire_begin *order)
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
        "LD_BIND_NOW=1",
        "OPENBLAS_NUM_THREADS=1",
        "OMP_NUM_THREADS=1",
        "MPLBACKEND=Agg",
        "MPLCONFIGDIR=/tmp",
        NULL,
    };
    const struct interpreter *interpreter = engine->interpreters[order->interpreter];
    struct fault fault;
    char bootstrap[sizeof engine->library + 16];
    bool rooted = engine->plan.layers & LAYER_BIT(LAYER_ROOT);
    take_descriptors(false);
    raise_oom_score(OOM_ZYGOTE);
    struct jail_path paths[INTERPRETER_PATHS + 2];
    memcpy(paths, interpreter->paths, sizeof interpreter->paths);
    size_t count = interpreter->path_count;
    char extension[sizeof engine->library + 32];
    snprintf(extension, sizeof extension, "%s/_safe_script.abi3.so", engine->library);
    snprintf(bootstrap, sizeof bootstrap, "%s/bootstrap.py", engine->library);
    paths[count++] = (struct jail_path){.host = extension, .at = JAIL_LIB "/_safe_script.abi3.so"};
    paths[count++] = (struct jail_path){.host = bootstrap, .at = JAIL_LIB "/bootstrap.py", .data = true};
    struct rlimit stack;
    if (!(engine->plan.layers & LAYER_BIT(LAYER_CGROUP)) && getrlimit(RLIMIT_STACK, &stack) == 0) {
        stack.rlim_cur = JAIL_THREAD_STACK;
        setrlimit(RLIMIT_STACK, &stack);
    }
    /* argv[0] with its path: a venv's python finds its prefix by it. */
    const char *const argv[] = {
        interpreter->executable, "-I", "-B", "-X", "utf8", rooted ? JAIL_LIB "/bootstrap.py" : bootstrap, "3",
        interpreter->path,       NULL};
    if (engine->plan.engine != ENGINE_CLONE)
        launcher_exec(engine, interpreter, paths, count, (char *const *)(uintptr_t)argv,
                      (char *const *)(uintptr_t)environment);
    if (jail_template(&engine->plan, paths, count, &fault))
        zygote_fail(&fault);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    execve(interpreter->executable, (char *const *)(uintptr_t)argv, (char *const *)(uintptr_t)environment);
    fault_set(&fault, "interpreter", "exec", errno, "%s", interpreter->executable);
    zygote_fail(&fault);
}

/* ---- the starter ---- */

static int32_t begin(struct engine *engine, const struct wire_message *order, struct fault *fault)
{
    static void (*const bodies[BEGUN_COUNT])(struct engine * engine,
                                             const struct wire_begin *order) = {front_exec, zygote_exec, tls_exec};
    if (order->begin.what >= BEGUN_COUNT || order->begin.interpreter >= engine->interpreter_count)
        return fault_set(fault, "starter", "begin", EINVAL, "%u", order->begin.what);
    /* As fork(), but for the parent. This process has no threads and no handlers that fork() would have to care for. */
    long pid = syscall(SYS_clone, CLONE_PARENT | SIGCHLD, NULL, NULL, NULL, 0);
    if (pid == 0) {
        if (dup2(order->fds[0], ORDERS) == ORDERS)
            bodies[order->begin.what](engine, &order->begin);
        _exit(126);
    }
    return pid < 0 ? fault_set(fault, "starter", "clone", errno, "a child") : (int32_t)pid;
}

static int map(const struct engine *engine, const struct wire_message *order, struct fault *fault)
{
    const struct jail_plan *plan = &engine->plan;
    const struct wire_map *map = &order->map;
    const struct wire_message enter = {.type = WIRE_ENTER};
    if (map->pid <= 0 || map->uid - plan->run_uid_base >= plan->run_uid_count)
        return fault_set(fault, "starter", "map", EINVAL, "%d to %u", map->pid, map->uid);
    if (jail_map_ids(map->pid, order->fds[MAP_PIDFD], map->uid, fault))
        return -1;
    /* Where it has ended already, its last word (JAIL_FAILED) is still there for the supervisor. */
    wire_send(order->fds[MAP_CONTROL], &enter);
    return 0;
}

/* Returns whether there is an answer. */
static bool obey(struct engine *engine, const struct wire_message *order, bool starved, struct wire_message *answer)
{
    struct fault fault;
    int32_t result = starved                     ? fault_set(&fault, "starter", "receive", EMFILE, "an order")
                     : order->type == WIRE_BEGIN ? begin(engine, order, &fault)
                                                 : map(engine, order, &fault);
    bool failed = result < 0;
    if (order->type == WIRE_BEGIN) {
        *answer = (struct wire_message){.type = WIRE_DONE, .done = {.pid = result}};
        if (failed)
            answer->done.fault = fault;
        return true;
    }
    if (failed)
        *answer =
            (struct wire_message){.type = WIRE_MAP_FAILED, .spawn_failed = {.slot = order->map.slot, .fault = fault}};
    return failed;
}

static _Noreturn void serve(struct engine *engine)
{
    for (;;) {
        struct wire_message order, answer;
        int result = wire_receive(ORDERS, LINK_STARTER, true, &order);
        if (result != WIRE_OK && result != WIRE_STARVED)
            _exit(result == WIRE_CLOSED ? 0 : 1);
        bool answers = obey(engine, &order, result == WIRE_STARVED, &answer);
        wire_close_fds(&order);
        if (answers && wire_send(ORDERS, &answer) != WIRE_OK)
            _exit(1);
    }
}

/* Away with what is the supervisor's: its listening sockets, its cgroups, its lock. */
static int keep_descriptors(const struct engine *engine, int orders)
{
    const struct {
        int from, to;
    } kept[] = {{orders, ORDERS},
                {engine->front_program.fd, FRONT_PROGRAM},
                {engine->tls_program.fd, TLS_PROGRAM}}; /* -1 where there is none */
    int high[COUNT(kept)];
    for (size_t i = 0; i < COUNT(kept); i++)
        high[i] = fcntl(kept[i].from, F_DUPFD, TLS_PROGRAM + 1);
    close_range(ORDERS, TLS_PROGRAM, 0);
    for (size_t i = 0; i < COUNT(kept); i++) {
        if (kept[i].from >= 0 && dup3(high[i], kept[i].to, O_CLOEXEC) < 0)
            return -1;
    }
    close_range(TLS_PROGRAM + 1, ~0U, 0);
    return 0;
}

static _Noreturn void starter_main(struct engine *engine, int orders)
{
    struct fault fault;
    sigset_t all;
    sigfillset(&all); /* a terminal's are for the supervisor */
    sigprocmask(SIG_SETMASK, &all, NULL);
    prctl(PR_SET_NAME, "safe-starter", 0, 0, 0);
    take_short_turns(); /* the supervisor waits for it */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    /* Where no other id can be had, the template's user namespace maps uid 0, which the kernel allows only to a maker
     * that has this one (user_namespaces(7), Linux 5.12). */
    uint32_t kept = KEPT | (engine->plan.zygote_uid ? 0 : UINT32_C(1) << CAP_SETFCAP);
    if (geteuid() != 0) /* a run's id maps are root's files */
        kept |= UINT32_C(1) << CAP_DAC_OVERRIDE;
#ifdef SAFE_SCRIPT_ABLATION
    if (engine->plan.without & LAYER_BIT(LAYER_IDENTITY))
        kept = UINT32_MAX; /* else it would be this wall that stands where no run gives up a privilege */
#endif
    if (keep_descriptors(engine, orders) || sandbox_keep_capabilities(kept, &fault))
        _exit(1);
    serve(engine);
}

/* ---- in the supervisor ---- */

int starter_open(struct engine *engine, struct fault *fault)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
        return fault_set(fault, "starter", "socketpair", errno, "orders");
    pid_t pid = fork();
    if (pid == 0)
        starter_main(engine, pair[1]);
    close(pair[1]);
    engine->starter.socket = pair[0];
    if (pid < 0)
        return fault_set(fault, "starter", "fork", errno, "the starter");
    engine->starter.pid = pid;
    drop_fd(&engine->front_program.fd);
    drop_fd(&engine->tls_program.fd);
    if (fcntl(pair[0], F_SETFL, O_NONBLOCK) || engine_watch(engine, pair[0], &engine->starter.source))
        return fault_set(fault, "starter", "epoll_ctl", errno, "orders");
    return 0;
}

/* What it says of itself; the slot may have got another life meanwhile. */
static void map_failed(struct engine *engine, const struct wire_spawn_failed *failed)
{
    for (size_t i = 0; i < engine->slot_count; i++) {
        struct slot *slot = &engine->slots[i];
        if (slot->serial == failed->slot && slot->state == SLOT_ENTERING)
            slot_failed(engine, slot, &failed->fault);
    }
}

/* Its next message, MAP_FAILED aside. Returns an enum wire_result. */
static int answer_of(struct engine *engine, struct wire_message *answer)
{
    int result;
    while ((result = wire_receive(engine->starter.socket, LINK_STARTER, false, answer)) == WIRE_OK &&
           answer->type == WIRE_MAP_FAILED)
        map_failed(engine, &answer->spawn_failed);
    return result;
}

void starter_event(struct engine *engine)
{
    struct wire_message answer;
    if (answer_of(engine, &answer) == WIRE_AGAIN)
        return;
    /* It has gone, or answers what it was not asked: wait4() tells the rest. */
    child_kill(&engine->starter);
    drop_fd(&engine->starter.socket);
}

static int ask(struct engine *engine, const struct wire_message *order, struct wire_message *answer)
{
    uint64_t deadline = now_us() + ANSWER_US;
    for (bool sent = false;;) {
        struct pollfd ready = {.fd = engine->starter.socket};
        int result = sent ? answer_of(engine, answer) : wire_send(ready.fd, order);
        if (sent ? result != WIRE_AGAIN : result != WIRE_AGAIN && result != WIRE_OK)
            return result;
        uint64_t now = now_us();
        if (now >= deadline)
            return WIRE_AGAIN;
        sent = sent || result == WIRE_OK;
        ready.events = sent ? POLLIN : POLLOUT;
        (void)poll(&ready, 1, (int)((deadline - now) / 1000) + 1); /* EINTR: stopped and continued */
    }
}

/* Without an answer it is ended, and then so are we (starter_lost). */
pid_t starter_begin(struct engine *engine, enum begun what, uint32_t interpreter, int socket, struct fault *fault)
{
    const struct wire_message message = {
        .type = WIRE_BEGIN, .begin = {.what = what, .interpreter = interpreter}, .fds = {socket}, .fd_count = 1};
    struct wire_message answer;
    int result = engine->starter.socket < 0 ? WIRE_CLOSED : ask(engine, &message, &answer);
    if (result != WIRE_OK) {
        child_kill(&engine->starter);
        return fault_set(fault, "starter", "order", result == WIRE_AGAIN ? ETIMEDOUT : 0, "%s",
                         wire_name(message.type));
    }
    if (answer.done.pid < 0)
        *fault = answer.done.fault;
    return answer.done.pid;
}

int starter_map(struct engine *engine, const struct slot *slot, struct fault *fault)
{
    const struct wire_message message = {.type = WIRE_MAP,
                                         .map = {.slot = slot->serial, .pid = slot->pid, .uid = slot->uid},
                                         .fds = {[MAP_CONTROL] = slot->control, [MAP_PIDFD] = slot->pidfd},
                                         .fd_count = MAP_FDS};
    int result = engine->starter.socket < 0 ? WIRE_CLOSED : wire_send(engine->starter.socket, &message);
    return result == WIRE_OK
               ? 0
               : fault_set(fault, "starter", "order", result == WIRE_AGAIN ? EAGAIN : 0, "%s", wire_name(message.type));
}
