/* The rlimits layer: what the kernel itself refuses or kills for, whoever else sleeps. Values come from policy_rlimits
 * and the limits table; both soft and hard, and only ever lowered. Those that are of one process and the same for all
 * the zygote sets for itself, and runs inherit them.
 *
 * RLIMIT_AS counts what a run inherits: the whole warm interpreter with its libraries, some hundred megabytes to
 * gigabytes of address space, most of it never touched. So the zygote measures itself first, and a run's limit is that
 * plus its memory limit; where a cgroup counts real memory this is only a backstop and gets AS_SLACK more (thread
 * stacks and malloc arenas reserve far more than they use). */
#include "layers.h"

#include "scope.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/utsname.h>

#define LAYER "rlimits"

#define AS_SLACK (UINT64_C(4) << 30)

enum { ROWS_MOST = 24, SHARED_UID_PROCESSES = 16384 };

static uint64_t base_bytes;       /* address space of the zygote */
static rlim_t ceiling[ROWS_MOST]; /* hard limits that we were started with */
static bool counts_apart;         /* RLIMIT_NPROC counts this run's processes only */

/* Address space in use, without /proc: a page more fits exactly where the soft limit allows it. */
static int measure_base(struct fault *fault)
{
    struct rlimit before, tried;
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), least = 0, most = (UINT64_C(1) << 47) / page;
    if (getrlimit(RLIMIT_AS, &before))
        return fault_set(fault, LAYER, "getrlimit", errno, "RLIMIT_AS");
    tried = before;
    if (before.rlim_max != RLIM_INFINITY && most > before.rlim_max / page)
        most = before.rlim_max / page;
    while (least < most) {
        uint64_t middle = least + (most - least) / 2;
        tried.rlim_cur = middle * page;
        if (setrlimit(RLIMIT_AS, &tried))
            return fault_set(fault, LAYER, "setrlimit", errno, "RLIMIT_AS");
        void *one = mmap(NULL, page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (one == MAP_FAILED) {
            least = middle + 1;
        } else {
            munmap(one, page);
            most = middle;
        }
    }
    if (setrlimit(RLIMIT_AS, &before))
        return fault_set(fault, LAYER, "setrlimit", errno, "RLIMIT_AS");
    base_bytes = least * page;
    return 0;
}

/* Since Linux 5.14 each user namespace counts its own; before, and without one, all processes of a kernel uid count. */
static bool is_counted_by_namespace(void)
{
    struct utsname name;
    unsigned major = 0, minor = 0;
    if (uname(&name) || sscanf(name.release, "%u.%u", &major, &minor) != 2)
        return false;
    return major > 5 || (major == 5 && minor >= 14);
}

static uint64_t wanted(const struct jail_plan *plan, const struct rlimit_row *row, const struct limits *limits)
{
    if (row->limit < 0)
        return row->value;
    uint64_t value = limits->value[row->limit];
    switch (row->limit) {
    case LIMIT_CPU: /* the supervisor's clock comes first and says which limit it was */
        return (value + 999) / 1000 + 1;
    case LIMIT_MEMORY:
        if (plan->layers & LAYER_BIT(LAYER_CGROUP))
            return base_bytes + value + AS_SLACK;
        return base_bytes + value + limits->value[LIMIT_PROCESSES] * JAIL_THREAD_STACK;
    case LIMIT_PROCESSES: /* else one run's many would be another's none: there the supervisor counts */
        return counts_apart || value > SHARED_UID_PROCESSES ? value : SHARED_UID_PROCESSES;
    default:
        return value;
    }
}

static int set_row(const struct jail_plan *plan, size_t i, const struct limits *limits, struct fault *fault)
{
    const struct rlimit_row *row = &policy_rlimits[i];
    uint64_t value = wanted(plan, row, limits);
    if (value > ceiling[i])
        value = ceiling[i];
    struct rlimit both = {.rlim_cur = value, .rlim_max = value};
    if (setrlimit((__rlimit_resource_t)row->resource, &both))
        return fault_set(fault, LAYER, "setrlimit", errno, "%s %" PRIu64, row->name, value);
    return 0;
}

/* What is the same for all runs and of one process. What the kernel counts by user is not: a user namespace has its
 * maker's limit for all that is in it together (Linux 5.14), and all runs' namespaces have the same maker. So what one
 * run had queued would be missing to others. */
static bool is_inherited(const struct rlimit_row *row)
{
    return row->limit < 0 && !row->by_user;
}

int rlimits_arm(const struct jail_plan *plan, struct fault *fault)
{
    for (size_t i = 0; i < policy_rlimit_count && i < ROWS_MOST; i++) {
        struct rlimit have;
        if (getrlimit((__rlimit_resource_t)policy_rlimits[i].resource, &have))
            return fault_set(fault, LAYER, "getrlimit", errno, "%s", policy_rlimits[i].name);
        ceiling[i] = have.rlim_max;
    }
    for (size_t i = 0; i < policy_rlimit_count; i++) {
        if (is_inherited(&policy_rlimits[i]) && set_row(plan, i, &plan->limits, fault))
            return -1;
    }
    counts_apart = plan->supervisor_maps || plan->run_sets_ids ||
                   (((jail_clone_flags(plan) & CLONE_NEWUSER) || plan->engine) && is_counted_by_namespace());
    return measure_base(fault);
}

int rlimits_apply(const struct jail_plan *plan, struct fault *fault)
{
    for (size_t i = 0; i < policy_rlimit_count; i++) {
        const struct rlimit_row *row = &policy_rlimits[i];
        if (!is_inherited(row) && row->resource != RLIMIT_NOFILE && set_row(plan, i, &plan->limits, fault))
            return -1;
    }
    return 0;
}

int jail_limit_files(const struct jail_plan *plan, struct fault *fault)
{
    for (size_t i = 0; (plan->layers & LAYER_BIT(LAYER_RLIMITS)) && i < policy_rlimit_count; i++) {
        if (policy_rlimits[i].resource == RLIMIT_NOFILE)
            return set_row(plan, i, &plan->limits, fault);
    }
    return 0;
}

int jail_lower(const struct jail_plan *plan, const struct limits *limits, struct fault *fault)
{
    if (!(plan->layers & LAYER_BIT(LAYER_RLIMITS)))
        return 0;
    for (size_t i = 0; i < policy_rlimit_count; i++) {
        int limit = policy_rlimits[i].limit;
        if (limit >= 0 && limits->value[limit] < plan->limits.value[limit] && set_row(plan, i, limits, fault))
            return -1;
    }
    return 0;
}

static int check(void *plan, struct fault *fault)
{
    if (rlimits_arm(plan, fault) || rlimits_apply(plan, fault))
        return -1;
    struct rlimit few = {.rlim_cur = 0, .rlim_max = 0}, tight = {.rlim_cur = base_bytes + (1 << 20)};
    tight.rlim_max = tight.rlim_cur;
    if (setrlimit(RLIMIT_NOFILE, &few) || setrlimit(RLIMIT_AS, &tight))
        return fault_set(fault, LAYER, "setrlimit", errno, "RLIMIT_NOFILE, RLIMIT_AS");
    if (open("/", O_RDONLY | O_CLOEXEC) >= 0 || errno != EMFILE)
        return fault_set(fault, LAYER, "open", 0, "RLIMIT_NOFILE does not hold");
    if (mmap(NULL, 2 << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) != MAP_FAILED)
        return fault_set(fault, LAYER, "mmap", 0, "RLIMIT_AS does not hold");
    return 0;
}

int rlimits_probe(struct jail_plan *plan, struct layer_report *report)
{
    if (in_child(LAYER, check, plan, &report->fault))
        return -1;
    int length = 0;
    for (size_t i = 0; i < policy_rlimit_count && length < (int)sizeof report->how; i++)
        length += snprintf(report->how + length, sizeof report->how - (size_t)length, "%s%s", i ? ", " : "",
                           policy_rlimits[i].name);
    return 0;
}
