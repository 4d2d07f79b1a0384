/* The seccomp layer: the table policy_calls, compiled once in the zygote by libseccomp and loaded in each run as the
 * last step. Also the pure functions over the same table by which the supervisor answers what the filter passes to it.
 *
 * Where user notification works (plan->denials), everything that no row allows or refuses quietly goes to the
 * supervisor, which counts it and answers with the row's errno; else the filter answers itself. A call of another
 * architecture (int 0x80, x32) kills: its number would mean something else. */
#include "layers.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LAYER "seccomp"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

/* ---- the table's meaning ---- */

static bool has_checks(const struct call_row *row)
{
    return row->check[0].compare != ARG_ANY;
}

/* The row that says what a notified call gets, or NULL. */
static const struct call_row *denying_row(const struct seccomp_data *data, bool *listed)
{
    *listed = false;
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        if (row->number != data->nr)
            continue;
        *listed = true;
        if (row->verb == DENY && policy_row_holds(row, data))
            return row;
    }
    return NULL;
}

bool jail_is_signal_question(const struct seccomp_data *data)
{
    for (size_t i = 0; i < policy_call_count; i++) {
        if (policy_calls[i].number == data->nr && policy_calls[i].verb == ASK)
            return true;
    }
    return false;
}

bool jail_answer(const struct seccomp_data *data, int64_t *value)
{
    for (size_t i = 0; i < policy_call_count; i++) {
        if (policy_calls[i].number == data->nr && policy_calls[i].verb == ANSWER) {
            *value = policy_calls[i].error;
            return true;
        }
    }
    return false;
}

bool jail_is_end(const struct seccomp_data *data, int *status)
{
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        if (row->number == data->nr && row->verb == END && policy_row_holds(row, data)) {
            *status = (int)data->args[1];
            return true;
        }
    }
    return false;
}

int jail_denial_error(const struct seccomp_data *data, uint32_t *detail)
{
    bool listed;
    const struct call_row *row = denying_row(data, &listed);
    *detail = row && row->detail >= 0 ? (uint32_t)data->args[row->detail] : 0;
    return row ? (row->error ? row->error : EPERM) : (listed ? EPERM : ENOSYS);
}

/* ---- the compiler ---- */

static struct sock_filter program[BPF_MAXINSNS];
static struct sock_fprog compiled;

static int arguments_of(const struct call_row *row, struct scmp_arg_cmp arguments[2])
{
    unsigned count = 0;
    for (size_t i = 0; i < COUNT(row->check); i++) {
        const struct argument_check *check = &row->check[i];
        if (check->compare == ARG_EQUAL)
            arguments[count++] = SCMP_CMP64(check->index, SCMP_CMP_EQ, check->value);
        else if (check->compare == ARG_OTHER)
            arguments[count++] = SCMP_CMP64(check->index, SCMP_CMP_NE, check->value);
        else if (check->compare == ARG_MASKED)
            arguments[count++] = SCMP_CMP64(check->index, SCMP_CMP_MASKED_EQ, check->mask, check->value);
    }
    return (int)count;
}

/* A row without checks would wipe out its call's rows with checks (libseccomp has no "else"). */
static bool is_else(const struct call_row *row)
{
    for (size_t i = 0; i < policy_call_count && !has_checks(row); i++) {
        if (policy_calls[i].number == row->number && has_checks(&policy_calls[i]))
            return true;
    }
    return false;
}

/* Only in a test build, which measures what each row is for (tests/escape/test_rows.py). */
static bool is_left_out(const struct jail_plan *plan, const struct call_row *row)
{
#ifdef SAFE_SCRIPT_ABLATION
    return plan->without_row && row == &policy_calls[plan->without_row - 1];
#else
    (void)plan, (void)row;
    return false;
#endif
}

/* Whether and with what action the row goes into the filter; what does not gets the default action. */
static bool action_of(const struct jail_plan *plan, const struct call_row *row, uint32_t *action)
{
    *action = SCMP_ACT_ERRNO(EPERM);
    if (!policy_row_counts(plan, row) || is_left_out(plan, row))
        return is_left_out(plan, row) && row->verb == ASK;
    switch (row->verb) {
    case ALLOW:
        *action = SCMP_ACT_ALLOW;
        return true;
    case QUIET:
        *action = SCMP_ACT_ERRNO((uint32_t)row->error);
        return true;
    case DENY:
        *action = SCMP_ACT_ERRNO((uint32_t)(row->error ? row->error : EPERM));
        return !plan->denials && !is_else(row);
    case ASK: /* the default action is the notification */
        if ((jail_clone_flags(plan) & CLONE_NEWPID) || plan->supervisor_maps || plan->run_sets_ids)
            *action = SCMP_ACT_ALLOW;
        return !plan->denials;
    case ANSWER:
        return !plan->denials;
    case END: /* likewise */
        return false;
    case KILL:
        *action = SCMP_ACT_KILL_PROCESS;
        return true;
    }
    return false;
}

static uint32_t default_action(const struct jail_plan *plan)
{
    return plan->denials ? SCMP_ACT_NOTIFY : SCMP_ACT_ERRNO(ENOSYS);
}

static int add_rows(scmp_filter_ctx filter, const struct jail_plan *plan, struct fault *fault)
{
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        struct scmp_arg_cmp arguments[2];
        uint32_t action = 0;
        /* Negative: this architecture does not have the call (__PNR_…). libseccomp refuses rules that change nothing.
         */
        if (row->number < 0 || !action_of(plan, row, &action) || action == default_action(plan))
            continue;
        int result = seccomp_rule_add_exact_array(filter, action, row->number, (unsigned)arguments_of(row, arguments),
                                                  arguments);
        /* A DENY row that gives its reason to what an earlier row may allow. */
        if (result == -EEXIST && row->verb == DENY)
            continue;
        if (result)
            return fault_set(fault, LAYER, "rule", -result, "row %zu, call %d", i, row->number);
    }
    return 0;
}

static int export_program(scmp_filter_ctx filter, struct fault *fault)
{
    auto_fd int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return fault_set(fault, LAYER, "memfd_create", errno, "filter");
    int result = seccomp_export_bpf(filter, fd);
    if (result)
        return fault_set(fault, LAYER, "export", -result, "filter");
    ssize_t size = pread(fd, program, sizeof program, 0);
    off_t end = lseek(fd, 0, SEEK_END);
    if (size <= 0 || end != size || (size_t)size % sizeof program[0])
        return fault_set(fault, LAYER, "export", E2BIG, "filter of %jd bytes", (intmax_t)end);
    compiled = (struct sock_fprog){.len = (unsigned short)((size_t)size / sizeof program[0]), .filter = program};
    return 0;
}

int seccomp_arm(const struct jail_plan *plan, struct fault *fault)
{
    scmp_filter_ctx filter = seccomp_init(default_action(plan));
    if (!filter)
        return fault_set(fault, LAYER, "init", EINVAL, "filter");
    int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (result == 0)
        result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
    if (result)
        fault_set(fault, LAYER, "attribute", -result, "filter");
    else if ((result = add_rows(filter, plan, fault)) == 0)
        result = export_program(filter, fault);
    seccomp_release(filter);
    return result ? -1 : 0;
}

int seccomp_enter(const struct jail_plan *plan, int *listener, struct fault *fault)
{
    unsigned long flags = plan->denials ? SECCOMP_FILTER_FLAG_NEW_LISTENER : 0;
    *listener = -1;
    /* Killable (Linux 5.19): a signal does not undo a call that the supervisor is about to answer. */
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
                          flags | (flags ? SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV : 0), &compiled);
    if (result < 0 && errno == EINVAL && flags)
        result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &compiled);
    if (result < 0)
        return fault_set(fault, LAYER, "seccomp", errno, "filter of %u instructions", compiled.len);
    if (flags)
        *listener = (int)result;
    return 0;
}

void jail_end(const struct jail_plan *plan, int status)
{
    for (size_t i = 0; plan->denials && plan->engine == ENGINE_CLONE && i < policy_call_count; i++) {
        if (policy_calls[i].verb == END)
            syscall(policy_calls[i].number, RUN_ENDS, status);
    }
}

/* ---- the probe ---- */

/* A filter that gives `action` to getppid() and allows all else. */
static long load_tiny(uint32_t action, unsigned long flags)
{
    struct sock_filter tiny[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_getppid, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, action),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog of = {.len = COUNT(tiny), .filter = tiny};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return -1;
    return syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &of);
}

static int check_filter(void *argument, struct fault *fault)
{
    (void)argument;
    if (load_tiny(SECCOMP_RET_ERRNO | EXDEV, 0))
        return fault_set(fault, LAYER, "seccomp", errno, "filter");
    if (syscall(SYS_getppid) >= 0 || errno != EXDEV)
        return fault_set(fault, LAYER, "getppid", 0, "the filter does not hold");
    return 0;
}

static int check_notification(void *argument, struct fault *fault)
{
    struct seccomp_notif notice = {0};
    struct seccomp_notif_resp response = {.error = -EXDEV};
    int status = -1;
    (void)argument;
    int listener = (int)load_tiny(SECCOMP_RET_USER_NOTIF, SECCOMP_FILTER_FLAG_NEW_LISTENER);
    if (listener < 0)
        return fault_set(fault, LAYER, "seccomp", errno, "user notification");
    pid_t pid = fork();
    if (pid < 0)
        return fault_set(fault, LAYER, "fork", errno, "user notification");
    if (pid == 0)
        _exit(syscall(SYS_getppid) < 0 && errno == EXDEV ? 0 : 1);
    struct pollfd ready = {.fd = listener, .events = POLLIN};
    if (poll(&ready, 1, PROBE_SECONDS * 1000) != 1 || ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, &notice))
        return fault_set(fault, LAYER, "ioctl", errno, "NOTIF_RECV");
    response.id = notice.id;
    if (notice.data.nr != SYS_getppid || ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response))
        return fault_set(fault, LAYER, "ioctl", errno, "NOTIF_SEND");
    if (waitpid(pid, &status, 0) != pid || status != 0)
        return fault_set(fault, LAYER, "waitpid", 0, "the notified call was not refused");
    return 0;
}

static int check_policy(void *plan, struct fault *fault)
{
    int listener;
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        return fault_set(fault, LAYER, "prctl", errno, "PR_SET_NO_NEW_PRIVS");
    return seccomp_arm(plan, fault) || seccomp_enter(plan, &listener, fault) ? -1 : 0;
}

/* What the kernel may be made to do, the supervisor being asked or not. */
static bool is_allowed(const struct jail_plan *plan, size_t i)
{
    uint32_t action;
    return policy_calls[i].verb == ASK || (action_of(plan, &policy_calls[i], &action) && action == SCMP_ACT_ALLOW);
}

static size_t allowed_calls(const struct jail_plan *plan)
{
    size_t count = 0;
    for (size_t i = 0; i < policy_call_count; i++) {
        bool again = !is_allowed(plan, i);
        for (size_t j = 0; j < i && !again; j++)
            again = policy_calls[j].number == policy_calls[i].number && is_allowed(plan, j);
        count += !again;
    }
    return count;
}

int seccomp_probe(struct jail_plan *plan, struct layer_report *report)
{
    struct fault no_notification;
    if (in_child(LAYER, check_filter, NULL, &report->fault))
        return -1;
    plan->denials = in_child(LAYER, check_notification, NULL, &no_notification) == 0;
    if (in_child(LAYER, check_policy, plan, &report->fault))
        return -1;
    snprintf(report->how, sizeof report->how, "%zu system calls allowed%s", allowed_calls(plan),
             plan->denials ? "; denials are counted" : "; denials are not counted here");
    return 0;
}
