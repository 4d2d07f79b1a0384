/* Throw-away children: how the layers try themselves for real without leaving a trace in the supervisor.
 *
 * Every child dies with its parent and after PROBE_SECONDS, whatever it was told to do. Used only by the probes, before
 * any script is near; results come back through shared memory. */
#include "layers.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

void *shared_memory(size_t size)
{
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return memory == MAP_FAILED ? NULL : memory;
}

void unshare_memory(void *memory, size_t size)
{
    if (memory)
        munmap(memory, size);
}

/* A server blocks signals to read them by signalfd, and blocked signals are inherited: the alarm must end this child.
 */
static void mortal(void)
{
    sigset_t none;
    sigemptyset(&none);
    signal(SIGALRM, SIG_DFL);
    sigprocmask(SIG_SETMASK, &none, NULL);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    alarm(PROBE_SECONDS);
}

static int wait_status(pid_t pid)
{
    int status = -1;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    return status;
}

int in_child(const char *layer, int (*body)(void *argument, struct fault *fault), void *argument, struct fault *fault)
{
    struct fault *told = shared_memory(sizeof *told);
    if (!told)
        return fault_set(fault, layer, "mmap", errno, "shared memory");
    pid_t pid = fork();
    if (pid == 0) {
        mortal();
        _exit(body(argument, told) == 0 ? 0 : 1);
    }
    int error = errno, status = pid < 0 ? -1 : wait_status(pid);
    int result = pid >= 0 && WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
    if (pid < 0)
        fault_set(fault, layer, "fork", error, "a child to try it in");
    else if (result && WIFSIGNALED(status))
        fault_set(fault, layer, "probe", WTERMSIG(status) == SIGALRM ? ETIMEDOUT : 0, "killed by signal %d",
                  WTERMSIG(status));
    else if (result)
        *fault = *told;
    unshare_memory(told, sizeof *told);
    return result;
}

/* What the processes of a rehearsal share. */
struct stage {
    int result;
    bool done;
    struct fault fault;
};

static long clone_run(uint64_t flags)
{
    /* No exit signal: with CLONE_PARENT it is the zygote's own, SIGCHLD. */
    struct clone_args arguments = {.flags = flags | CLONE_PARENT};
    return syscall(SYS_clone3, &arguments, sizeof arguments);
}

static int rehearse_run(const struct jail_plan *plan, bool with_root, int (*check)(struct fault *fault), int go,
                        struct fault *fault)
{
    char byte;
    mortal();
    if (read(go, &byte, 1) != 1)
        return fault_set(fault, "namespaces", "map ids", 0, "the parent gave up");
    if (namespaces_apply(plan, fault) || (with_root && root_apply(plan, plan->limits.value[LIMIT_DISK], fault)))
        return -1;
    return check(fault);
}

/* Returns the run's pid in the zygote, never in the run. */
static long rehearse_zygote(const struct jail_plan *plan, bool with_root, int (*check)(struct fault *fault), int go,
                            struct stage *stage, struct fault *fault)
{
    struct jail_plan part = *plan;
    part.layers = LAYER_BIT(LAYER_NAMESPACES) | LAYER_BIT(LAYER_IDENTITY) | (with_root ? LAYER_BIT(LAYER_ROOT) : 0);
    if (jail_template(&part, NULL, 0, fault) || namespaces_arm(&part, fault))
        return -1;
    prctl(PR_SET_DUMPABLE, 1, 0, 0, 0); /* as execve makes it in a real zygote */
    long pid = clone_run(jail_clone_flags(&part));
    if (pid == 0) {
        stage->result = rehearse_run(&part, with_root, check, go, &stage->fault);
        stage->done = true;
        _exit(0);
    }
    if (pid < 0)
        return fault_set(fault, "namespaces", "clone3", errno, "new namespaces 0x%x", part.namespaces);
    return pid;
}

/* Away from JAIL_PROC_FD. This process is thrown away: what is left open dies with it. */
static int high_pipe(int ends[2])
{
    if (pipe2(ends, O_CLOEXEC))
        return -1;
    ends[0] = fcntl(ends[0], F_DUPFD_CLOEXEC, JAIL_PROC_FD + 10);
    ends[1] = fcntl(ends[1], F_DUPFD_CLOEXEC, JAIL_PROC_FD + 10);
    return ends[0] < 0 || ends[1] < 0 ? -1 : 0;
}

int rehearse(const struct jail_plan *plan, bool with_root, int (*check)(struct fault *fault), struct fault *fault)
{
    int news[2], go[2];
    long run = -1;
    struct stage *stage = shared_memory(sizeof *stage);
    if (!stage || high_pipe(news) || high_pipe(go))
        return fault_set(fault, "namespaces", "pipe2", errno, "a rehearsal");
    pid_t zygote = fork();
    if (zygote < 0)
        return fault_set(fault, "namespaces", "fork", errno, "a rehearsal");
    if (zygote == 0) {
        mortal();
        close(go[1]);
        close(news[0]);
        long pid = rehearse_zygote(plan, with_root, check, go[0], stage, &stage->fault);
        (void)!write(news[1], &pid, sizeof pid);
        _exit(0);
    }
    close(news[1]);
    close(go[0]);
    int told = read(news[0], &run, sizeof run) == sizeof run && run > 0;
    bool maps = told && plan->supervisor_maps;
    auto_fd int pidfd = maps ? (int)syscall(SYS_pidfd_open, (pid_t)run, 0) : -1;
    int mapped = maps ? jail_map_ids((pid_t)run, pidfd, plan->run_uid_base, fault) : 0;
    if (told && mapped == 0)
        (void)!write(go[1], "", 1);
    close(go[1]);
    wait_status(zygote);
    if (told)
        wait_status((pid_t)run);
    if (mapped == 0 && (!told || !stage->done || stage->result))
        *fault = stage->fault;
    if (mapped == 0 && told && !stage->done)
        fault_set(fault, "namespaces", "probe", 0, "the cloned child died");
    int result = mapped || !told || !stage->done ? -1 : stage->result;
    unshare_memory(stage, sizeof *stage);
    return result;
}
