/* System calls that the jail's filter passes to us: denied ones, to be counted and refused, and signals that a script
 * sends to itself.
 *
 * What we read is the kernel's struct: a call's number and its arguments, never the script's memory. The script is
 * halted until we answer. A run that is denied too often loses the service: with its listener closed the kernel itself
 * answers ENOSYS, so nobody can keep the supervisor busy.
 *
 * The end: our own code in the run says by such a call that it has written its report, and is ended by us. The same
 * listener then tells when nothing of the jail runs any more (slot_over()).
 *
 * Signals: the script is PID 1 of its pid namespace, and the kernel drops every signal with default action that such a
 * process gets from inside (pid_namespaces(7)). So that os.abort() and os.kill(os.getpid(), …) do what they do
 * everywhere, the filter asks us about kill() and tgkill(): what would end the script ends it, by our SIGKILL, and the
 * signal's number is a fact that we saw ourselves. Where there is no pid namespace, a signal to anything but the run
 * itself is a denial. */
#include "engine.h"

#include "frames.h"
#include "log.h"
#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

/* Of each kind, in one run. An answer costs us some 10 µs. */
enum { REFUSALS_MOST = 64, SIGNALS_MOST = 1000, ANSWERS_MOST = 20000 };

static void answer(struct slot *slot, uint64_t id, int error, bool go_on)
{
    struct seccomp_notif_resp response = {
        .id = id, .error = -error, .flags = go_on ? SECCOMP_USER_NOTIF_FLAG_CONTINUE : 0};
    /* ENOENT: the caller has died meanwhile. */
    (void)ioctl(slot->listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

/* The signal masks of the run's first process, from the kernel's own text; Name:, the one line there with bytes of a
 * script's, is escaped by the kernel and cannot forge a line. */
static bool signal_masks(const struct slot *slot, uint64_t *blocked, uint64_t *ignored, uint64_t *caught)
{
    char path[40], text[4096];
    static const char *const names[] = {"\nSigBlk:\t", "\nSigIgn:\t", "\nSigCgt:\t"};
    uint64_t *const masks[] = {blocked, ignored, caught};
    snprintf(path, sizeof path, "/proc/%d/status", slot->script);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length <= 0)
        return false;
    text[length] = 0;
    for (size_t i = 0; i < COUNT(names); i++) {
        const char *line = strstr(text, names[i]);
        if (!line)
            return false;
        *masks[i] = strtoull(line + strlen(names[i]), NULL, 16);
    }
    return true;
}

enum fate { FATE_KERNEL, FATE_STOP, FATE_END };

/* What a signal to the run's first process would do if it were not PID 1. */
static enum fate signal_fate(const struct slot *slot, int number, bool to_process)
{
    uint64_t blocked, ignored, caught, bit = UINT64_C(1) << (number - 1);
    if (number == SIGKILL)
        return FATE_END;
    if (number == SIGSTOP)
        return FATE_STOP;
    if (number == SIGCHLD || number == SIGCONT || number == SIGURG || number == SIGWINCH)
        return FATE_KERNEL;
    if (!signal_masks(slot, &blocked, &ignored, &caught) || ((ignored | caught) & bit) ||
        (to_process && (blocked & bit)))
        return FATE_KERNEL;
    return number == SIGTSTP || number == SIGTTIN || number == SIGTTOU ? FATE_STOP : FATE_END;
}

static void count_denial(struct facts *facts, int number, uint32_t detail)
{
    for (uint32_t i = 0; i < facts->denials; i++) {
        if (facts->denied[i].number == number && facts->denied[i].detail == detail) {
            facts->denied[i].count++;
            return;
        }
    }
    if (facts->denials == DENIALS_KEPT) {
        facts->denials_cut = 1;
        return;
    }
    facts->denied[facts->denials++] = (struct denial){.number = number, .detail = detail, .count = 1};
}

static void asked_signal(struct slot *slot, const struct seccomp_notif *notice)
{
    bool process = notice->data.nr == SYS_kill;
    int target = (int)notice->data.args[0];
    int number = (int)notice->data.args[process ? 1 : 2];
    /* tgkill(): a thread that is none is the kernel's to refuse. */
    bool to_init = target == 1 ? process || (int)notice->data.args[1] == 1 : process && target == 0;
    /* kill(-1) and a group reach others as well and the caller itself is spared by -1: the kernel knows. */
    if (!to_init || number < 1 || number > 64) {
        answer(slot, notice->id, 0, true);
        return;
    }
    enum fate fate = signal_fate(slot, number, process);
    if (fate == FATE_KERNEL) {
        answer(slot, notice->id, 0, true);
    } else if (fate == FATE_STOP) {
        answer(slot, notice->id, 0, false);
        syscall(SYS_pidfd_send_signal, slot->pidfd, SIGSTOP, NULL, 0);
    } else {
        if (!slot->killed)
            slot->facts.self_signal = number;
        syscall(SYS_pidfd_send_signal, slot->pidfd, SIGKILL, NULL, 0);
    }
}

/* Without a pid namespace numbers name everybody's processes: a run may name itself. The kernel then does what it does
 * everywhere. */
static void asked_signal_by_number(struct slot *slot, const struct seccomp_notif *notice)
{
    bool process = notice->data.nr == SYS_kill;
    int target = (int)notice->data.args[0];
    int number = (int)notice->data.args[process ? 1 : 2];
    bool own =
        target == slot->script || (process && (target == 0 || target == -slot->script)); /* its session is its own */
    if (!own) {
        count_denial(&slot->facts, notice->data.nr, 0);
        slot->refusals++;
    } else if ((number == SIGKILL || number == SIGXCPU) && !slot->killed &&
               signal_fate(slot, number, process) == FATE_END) {
        slot->facts.self_signal = number; /* else they would pass for a limit's */
    }
    answer(slot, notice->id, own ? 0 : EPERM, own);
}

/* The run's own code has written its report and has nothing more to do. Its word on its exit status is worth what the
 * status is worth: a script that forges the one can forge the other. What else has ended it by now is a fact before it.
 */
static bool asked_end(const struct engine *engine, struct slot *slot, const struct seccomp_notif *notice, int status)
{
    if (engine->plan.engine != ENGINE_CLONE || (pid_t)notice->pid != slot->pid || slot->state != SLOT_RUNNING ||
        slot->killed || (status != EXIT_REPORTED && status != EXIT_FAILED))
        return false;
    slot->ended = status;
    slot->killed = true;
    syscall(SYS_pidfd_send_signal, slot->pidfd, SIGKILL, NULL, 0);
    return true;
}

/* Nobody is left who could be denied anything. */
static void listener_ended(struct engine *engine, struct slot *slot)
{
    drop_fd(&slot->listener);
    if (slot->ended >= 0 && slot->run && slot->cgroup) /* else its CPU is known when it is reaped */
        slot_over(engine, slot);
}

/* Receiving blocks when there is nothing, and does not once there was something, whatever has become of it: events are
 * of this life, as a slot begins another one only in engine_balance(). */
void slot_notified(struct engine *engine, struct slot *slot, bool asks)
{
    struct seccomp_notif notice;
    uint32_t detail = 0;
    int64_t value;
    int status;
    if (!asks) {
        listener_ended(engine, slot);
        return;
    }
    memset(&notice, 0, sizeof notice); /* the kernel refuses one that is not zero */
    if (ioctl(slot->listener, SECCOMP_IOCTL_NOTIF_RECV, &notice)) {
        /* ENOENT: the caller died first. EINTR cannot be: signals come by signalfd. Anything else: no more notices. */
        if (errno != ENOENT && errno != EINTR && errno != EAGAIN)
            drop_fd(&slot->listener);
        return;
    }
    if (jail_answer(&notice.data, &value)) {
        slot->answers++;
        struct seccomp_notif_resp response = {.id = notice.id, .val = value};
        (void)ioctl(slot->listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
    } else if (jail_is_end(&notice.data, &status) && asked_end(engine, slot, &notice, status)) {
        return;
    } else if (jail_is_signal_question(&notice.data)) {
        slot->signals++;
        if (jail_clone_flags(&engine->plan) & CLONE_NEWPID)
            asked_signal(slot, &notice);
        else
            asked_signal_by_number(slot, &notice);
    } else {
        slot->refusals++;
        int error = jail_denial_error(&notice.data, &detail);
        count_denial(&slot->facts, notice.data.nr, detail);
        answer(slot, notice.id, error, false);
    }
    if (slot->refusals >= REFUSALS_MOST || slot->signals >= SIGNALS_MOST || slot->answers >= ANSWERS_MOST) {
        slot->facts.denials_cut = 1;
        drop_fd(&slot->listener);
    }
}
