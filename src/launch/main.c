/* safe-script-launch: in the zygote's place where another jail is put around each run (outer.h).
 *
 *   safe-script-launch VERSION TOOL ARGUMENT…   the tool's whole command line, the same for every run
 *   safe-script-launch --check | --check-nested  inside the tool's jail, for the probe
 *
 * It takes the zygote's orders from the same socket and answers them likewise: a SPAWN begins the tool as the
 * supervisor's child. The Python inside finds, as its descriptor 3, a socket in which the plan and the order wait
 * already, and so is a zygote with one run, which it becomes itself. Believes the supervisor; never reads a byte that a
 * script wrote. */
#include "child.h"
#include "clone.h"
#include "jail.h"
#include "orders.h"
#include "outer.h"
#include "scope.h"
#include "wire.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>

enum { SUPERVISOR = 3 };

static struct jail_plan plan;
static char **command; /* the tool's */

static void reply(const struct wire_message *message)
{
    if (wire_send(SUPERVISOR, message) != WIRE_OK)
        _exit(1);
}

/* ---- in the clone ---- */

static _Noreturn void failed(const struct wire_message *order, const char *operation, const char *object)
{
    struct wire_message message = {.type = WIRE_JAIL_FAILED};
    fault_set(&message.spawn_failed.fault, "engine", operation, errno, "%s", object);
    wire_send(order->fds[SPAWN_CONTROL], &message);
    _exit(1);
}

/* The run's own uid, and no capability: the tool needs none where user namespaces can be had. */
static int take_identity(const struct wire_message *order)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0}, {0}};
    uid_t uid = order->spawn.uid;
    if (plan.run_sets_ids && (syscall(SYS_setresgid, uid, uid, uid) || syscall(SYS_setresuid, uid, uid, uid)))
        return -1;
    return syscall(SYS_capset, &header, none) ? -1 : 0;
}

/* Descriptor 3 of what is begun: a socket whose other end has said all that there is to say. */
static int leave_orders(const struct wire_message *order)
{
    struct wire_message inside = *order, warm = {.type = WIRE_WARM}; /* nothing: it would be imported for each run */
    struct jail_plan its = plan;
    int pair[2];
    its.run_sets_ids = false; /* it has its uid */
    if (order->spawn.has_cgroup) {
        inside.spawn.has_cgroup = 0;
        memmove(&inside.fds[SPAWN_CGROUP], &inside.fds[SPAWN_CGROUP + 1],
                (size_t)(--inside.fd_count - SPAWN_CGROUP) * sizeof inside.fds[0]);
    }
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) || wire_send(pair[0], &warm) != WIRE_OK ||
        wire_send_plan(pair[0], &its, sizeof its) != WIRE_OK || wire_send(pair[0], &inside) != WIRE_OK)
        return -1;
    return dup2(pair[1], SUPERVISOR) < 0 ? -1 : 0;
}

static _Noreturn void become_run(const struct wire_message *order)
{
    extern char **environ;
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (setsid() < 0) /* what it leaves behind is known by it: slots_end_orphans() */
        failed(order, "setsid", "a run");
    if (leave_orders(order))
        failed(order, "socketpair", "a run's orders");
    if (take_identity(order))
        failed(order, "setresuid", "a run's uid");
    /* It goes with the supervisor, and what is inside with it. Not before the uid: that clears it. */
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    execve(command[0], command, environ);
    failed(order, "exec", command[0]);
}

/* ---- the launcher ---- */

static void spawn(struct wire_message *order)
{
    struct wire_message answer = {.type = WIRE_SPAWNED, .spawned = {.slot = order->spawn.slot}};
    int cgroup = order->spawn.has_cgroup ? order->fds[SPAWN_CGROUP] : -1, pidfd = -1;
    pid_t pid = clone_run(0, cgroup, &pidfd);
    int error = errno;
    if (pid == 0)
        become_run(order);
    wire_close_fds(order);
    if (pid < 0) {
        answer = (struct wire_message){.type = WIRE_SPAWN_FAILED, .spawn_failed = {.slot = answer.spawned.slot}};
        fault_set(&answer.spawn_failed.fault, "engine", "clone3", error, "a run");
    } else {
        answer.spawned.pid = (int32_t)pid;
        answer.fds[answer.fd_count++] = pidfd;
    }
    reply(&answer);
    scope_close(&pidfd);
}

static int check(bool nested)
{
    struct fault fault;
    char text[512];
    if (outer_check(nested, &fault) == 0)
        return 0;
    dprintf(STDERR_FILENO, "%s\n", fault_text(&fault, text, sizeof text));
    return 1;
}

int main(int argc, char **argv)
{
    struct fault fault;
    struct wire_message message = {.type = WIRE_READY};
    if (argc == 2 && (strcmp(argv[1], "--check") == 0 || strcmp(argv[1], "--check-nested") == 0))
        return check(argv[1][strlen("--check")] != 0);
    if (argc < 3)
        return 2;
    command = argv + 2;
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    fcntl(SUPERVISOR, F_SETFD, FD_CLOEXEC);
    /* For the tool's child, as the template has it for a zygote. */
    int proc = open("/proc", O_PATH | O_DIRECTORY);
    if (proc >= 0 && proc != JAIL_PROC_FD && (dup2(proc, JAIL_PROC_FD) < 0 || close(proc)))
        return 1;
    close_range(JAIL_PROC_FD + 1, ~0U, 0);
    struct wire_message warm;
    if (wire_receive(SUPERVISOR, LINK_ZYGOTE, true, &warm) != WIRE_OK || warm.type != WIRE_WARM ||
        wire_receive_plan(SUPERVISOR, &plan, sizeof plan) != WIRE_OK)
        return 1;
    if (clone_prepare(&fault)) {
        message = (struct wire_message){.type = WIRE_SPAWN_FAILED, .spawn_failed = {.slot = 0, .fault = fault}};
        reply(&message);
        return 1;
    }
    snprintf(message.ready.version, sizeof message.ready.version, "%s", argv[1]);
    reply(&message);
    for (struct wire_message order; orders_next(SUPERVISOR, &order);)
        spawn(&order);
    return 0;
}
