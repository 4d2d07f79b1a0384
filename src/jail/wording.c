/* The policy in words: one denial for the run record, and the whole of it for `safe-script policy`. Reads the tables
 * and numbers that the kernel reported; no text of a script's comes near. */
#include "layers.h"

#include "scope.h"

#include <asm/ioctls.h>
#include <inttypes.h>
#include <linux/sockios.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

const char *jail_wall_name(uint32_t wall)
{
    return wall == WALL_FRONT     ? "front"
           : wall == WALL_FACTS   ? "facts"
           : wall == WALL_OWN_UID ? "uid"
           : wall == WALL_FORKS   ? "forks"
                                  : NULL;
}

/* Names of the details that people look for. */
static const struct {
    int number;
    uint32_t value;
    const char *name;
} details[] = {
    {SCMP_SYS(socket), AF_UNIX, "AF_UNIX"},
    {SCMP_SYS(socket), AF_INET, "AF_INET"},
    {SCMP_SYS(socket), AF_INET6, "AF_INET6"},
    {SCMP_SYS(socket), AF_NETLINK, "AF_NETLINK"},
    {SCMP_SYS(socket), AF_PACKET, "AF_PACKET"},
    {SCMP_SYS(socket), AF_ALG, "AF_ALG"},
    {SCMP_SYS(socket), AF_VSOCK, "AF_VSOCK"},
    {SCMP_SYS(socket), AF_BLUETOOTH, "AF_BLUETOOTH"},
    {SCMP_SYS(socketpair), AF_UNIX, "AF_UNIX, not SOCK_STREAM"},
    {SCMP_SYS(socketpair), AF_INET, "AF_INET"},
    {SCMP_SYS(ioctl), TIOCSTI, "TIOCSTI"},
    {SCMP_SYS(ioctl), TIOCLINUX, "TIOCLINUX"},
    {SCMP_SYS(ioctl), TCSETS, "TCSETS"},
    {SCMP_SYS(ioctl), SIOCGIFCONF, "SIOCGIFCONF"},
};

static const char *detail_name(int number, uint32_t value)
{
    for (size_t i = 0; i < COUNT(details); i++) {
        if (details[i].number == number && details[i].value == value)
            return details[i].name;
    }
    return NULL;
}

char *jail_call_name(int number, char *text, size_t size)
{
    char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, number);
    if (name)
        snprintf(text, size, "%s", name);
    else
        snprintf(text, size, "system call %d", number);
    free(name);
    return text;
}

/* Whether it was this DENY row's denial, as far as the reported detail tells. */
static bool tells_of(const struct call_row *row, const struct denial *denial)
{
    struct seccomp_data data = {.nr = denial->number};
    if (row->detail < 0 || !denial->detail)
        return row->detail < 0 && !denial->detail;
    data.args[row->detail] = denial->detail;
    return policy_row_holds(row, &data);
}

/* Of several DENY rows the one whose detail was reported. */
static const struct call_row *denied_row(const struct denial *denial)
{
    const struct call_row *found = NULL;
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        if (row->number != denial->number || row->verb != DENY)
            continue;
        if (tells_of(row, denial))
            return row;
        found = found ? found : row;
    }
    return found;
}

/* Whether the call has a row of this verb; ALLOW: any row. */
static bool is_listed(int number, enum verb verb)
{
    for (size_t i = 0; i < policy_call_count; i++) {
        if (policy_calls[i].number == number && (verb == ALLOW || policy_calls[i].verb == verb))
            return true;
    }
    return false;
}

/* Why a place allows threads only: the layers that would count processes and end them as one. */
static const char *threads_only(uint32_t layers)
{
    if (!(layers & LAYER_BIT(LAYER_NAMESPACES)))
        return "processes are limited to threads here because no pid namespace can be had";
    if (!(layers & LAYER_BIT(LAYER_CGROUP)))
        return "processes are limited to threads here because no cgroup can be had that counts them";
    return NULL;
}

static const char *hint_of(const struct call_row *row, const struct denial *denial, const struct jail_plan *plan)
{
    const char *here = row && row->needs_processes ? threads_only(plan->layers) : NULL;
    if (row)
        return here ? here : row->reason;
    if (is_listed(denial->number, ASK))
        return "other processes cannot be reached from this jail";
    return is_listed(denial->number, ALLOW) ? "not with these arguments in this jail"
                                            : "not among the system calls that a script may make";
}

void jail_denial_text(const struct denial *denial, const struct jail_plan *plan, char *what, size_t what_size,
                      char *hint, size_t hint_size)
{
    char call[64];
    const struct call_row *row = denied_row(denial);
    const char *detail = detail_name(denial->number, denial->detail);
    jail_call_name(denial->number, call, sizeof call);
    if (!row || row->as || row->detail < 0)
        snprintf(what, what_size, "%s", row && row->as ? row->as : call);
    else if (detail)
        snprintf(what, what_size, "%s(%s)", call, detail);
    else
        snprintf(what, what_size, "%s(0x%" PRIx32 ")", call, denial->detail);
    snprintf(hint, hint_size, "%s", hint_of(row, denial, plan));
}

/* ---- the whole policy ---- */

static void put_check(const struct argument_check *check, char *text, size_t size)
{
    if (check->compare == ARG_OTHER)
        snprintf(text, size, "argument %d is not 0x%" PRIx64, check->index, check->value);
    else if (check->compare == ARG_EQUAL || check->mask == UINT32_MAX)
        snprintf(text, size, "argument %d is 0x%" PRIx64, check->index, check->value);
    else
        snprintf(text, size, "argument %d under 0x%" PRIx64 " is 0x%" PRIx64, check->index, check->mask, check->value);
}

void policy_row_text(const struct call_row *row, char *name, size_t name_size, char *condition, size_t condition_size)
{
    size_t length = 0;
    jail_call_name(row->number, name, name_size);
    *condition = 0;
    for (size_t i = 0; i < COUNT(row->check) && row->check[i].compare != ARG_ANY && length < condition_size; i++) {
        length += (size_t)snprintf(condition + length, condition_size - length, "%s", i ? " and " : "");
        put_check(&row->check[i], condition + length, condition_size - length);
        length = strlen(condition);
    }
}

static void print_calls(const struct jail_plan *plan, enum verb verb, const char *title)
{
    printf("\n%s\n", title);
    for (size_t i = 0; i < policy_call_count; i++) {
        const struct call_row *row = &policy_calls[i];
        char name[64], condition[160];
        if (row->verb != verb || !policy_row_counts(plan, row))
            continue;
        policy_row_text(row, name, sizeof name, condition, sizeof condition);
        printf("  %-24s %s%s%s", name, row->reason, *condition ? "; where " : "", condition);
        if (verb == QUIET)
            printf(" (%s)", row->error ? strerrorname_np(row->error) : "succeeds");
        printf("\n");
    }
}

static void print_paths(void)
{
    printf("Shown read-only, besides the interpreter's own paths\n");
    for (size_t i = 0; i < policy_path_count; i++)
        printf("  %s%s\n", policy_paths[i].host, policy_paths[i].optional ? " (if there)" : "");
    for (size_t i = 0; i < policy_link_count; i++)
        printf("  %s -> %s\n", policy_links[i].at, policy_links[i].target);
    printf("\nWritable, a tmpfs for each run\n  %s, with %s, %s and %s\n", RUN_BOX, RUN_WORK, RUN_TMP, RUN_SHM);
}

static void print_rlimits(const struct jail_plan *plan)
{
    printf("\nResource limits\n");
    for (size_t i = 0; i < policy_rlimit_count; i++) {
        const struct rlimit_row *row = &policy_rlimits[i];
        char value[32];
        if (row->limit >= 0)
            limit_text((enum limit)row->limit, plan->limits.value[row->limit], value, sizeof value);
        else
            snprintf(value, sizeof value, "%" PRIu64, row->value);
        printf("  %-24s %s; %s\n", row->name, value, row->reason);
    }
}

void jail_print_policy(const struct jail_plan *plan)
{
    print_paths();
    print_rlimits(plan);
    print_calls(plan, ALLOW, "System calls: allowed");
    print_calls(plan, ASK, "System calls: the supervisor decides");
    print_calls(plan, ANSWER, "System calls: the supervisor answers, the kernel is not asked");
    print_calls(plan, END, "System calls: the supervisor ends the run");
    print_calls(plan, QUIET, "System calls: refused quietly, libraries fall back");
    print_calls(plan, DENY,
                "System calls: denied, counted and explained (as is every one that is not listed, with ENOSYS)");
    print_calls(plan, KILL, "System calls: end the script");
}
