/* The seccomp layer: the table policy_calls, compiled once in the zygote (filter.c) and loaded in each run as the
 * last step. Also the pure functions over the same table by which the supervisor answers what the filter passes to it.
 *
 * Where user notification works (plan->denials), everything that no row allows or refuses quietly goes to the
 * supervisor, which counts it and answers with the row's errno; else the filter answers itself. A call of another
 * architecture (int 0x80, x32) kills: its number would mean something else. */
#include "filter.h"
#include "layers.h"

#include "scope.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
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

/* ---- the filter ---- */

static struct sock_filter program[1024];
static struct sock_fprog compiled;

/* Without user notification a call's rows with checks have no "else" (policy.h). */
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
    *action = SECCOMP_RET_ERRNO | EPERM;
    if (!policy_row_counts(plan, row) || is_left_out(plan, row))
        return is_left_out(plan, row) && row->verb == ASK;
    switch (row->verb) {
    case ALLOW:
        *action = SECCOMP_RET_ALLOW;
        return true;
    case QUIET:
        *action = SECCOMP_RET_ERRNO | (uint32_t)row->error;
        return true;
    case DENY:
        *action = SECCOMP_RET_ERRNO | (uint32_t)(row->error ? row->error : EPERM);
        return !plan->denials && !is_else(row);
    case ASK: /* the default action is the notification */
        if ((jail_clone_flags(plan) & CLONE_NEWPID) || plan->supervisor_maps || plan->run_sets_ids)
            *action = SECCOMP_RET_ALLOW;
        return !plan->denials;
    case ANSWER:
        return !plan->denials;
    case END: /* likewise */
        return false;
    case KILL:
        *action = SECCOMP_RET_KILL_PROCESS;
        return true;
    }
    return false;
}

size_t seccomp_rules(const struct jail_plan *plan, struct filter_rule *rules, uint32_t *otherwise)
{
    size_t count = 0;
    *otherwise = plan->denials ? SECCOMP_RET_USER_NOTIF : SECCOMP_RET_ERRNO | ENOSYS;
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        uint32_t action = 0;
        /* Negative: this architecture does not have the call (__PNR_…). */
        if (row->number >= 0 && action_of(plan, row, &action) && action != *otherwise)
            rules[count++] = (struct filter_rule){row, action};
    }
    return count;
}

int seccomp_arm(const struct jail_plan *plan, struct fault *fault)
{
    uint32_t otherwise;
    size_t count = 0, length = 0;
    struct filter_rule *rules = calloc(policy_call_count, sizeof *rules);
    if (rules) {
        count = seccomp_rules(plan, rules, &otherwise);
        length = filter_compile(rules, count, otherwise, program, COUNT(program));
    }
    free(rules);
    if (length == 0)
        return fault_set(fault, LAYER, "compile", count ? E2BIG : ENOMEM, "filter of %zu rules", count);
    compiled = (struct sock_fprog){.len = (unsigned short)length, .filter = program + COUNT(program) - length};
    return 0;
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
    uint32_t action = SECCOMP_RET_KILL_PROCESS;
    (void)argument;
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action))
        return fault_set(fault, LAYER, "action", errno, "SECCOMP_RET_KILL_PROCESS");
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
    return policy_calls[i].verb == ASK || (action_of(plan, &policy_calls[i], &action) && action == SECCOMP_RET_ALLOW);
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
