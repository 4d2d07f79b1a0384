/* The policy: only data, in one place. A reader of policy.c sees the whole jail on one screen. */
#ifndef SAFE_SCRIPT_POLICY_H
#define SAFE_SCRIPT_POLICY_H

#include "jail.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Inside the jail. */
#define RUN_UID      1000        /* uid and gid that the script sees */
#define RUN_BOX      "/box"      /* where each run's own tmpfs is mounted: the only place it can write */
#define RUN_WORK     "/box/work" /* working directory and $HOME (bootstrap.py says so, too); /work is a link to it */
#define RUN_NO_INPUT RUN_BOX "/stdin" /* in the zygote's root, where no run sees it: an empty file */
#define RUN_TMP      "/box/tmp"       /* /tmp is a link to it */
#define RUN_SHM      "/box/shm"       /* /dev/shm is a link to it */
#define JAIL_LIB     "/safe-script"   /* our extension and bootstrap, read-only */

/* The first argument of the call in END's row; the second is the exit status that the run would have. */
#define RUN_ENDS UINT64_C(0x656e64206f662072)

extern const struct jail_path policy_paths[];
extern const size_t policy_path_count;

/* Symbolic links of our own in the jail's root; a directory that must be in their place wins. */
struct jail_link {
    const char *at, *target;
};
extern const struct jail_link policy_links[];
extern const size_t policy_link_count;

enum verb {
    ALLOW,  /* with the row's argument checks, if any; what fails them is denied */
    QUIET,  /* refused with the row's errno and not counted: honest libraries ask and fall back (errno 0: returns 0) */
    DENY,   /* refused with the row's errno, counted and explained */
    ASK,    /* the supervisor decides, where user notification works; else ALLOW where no other process can be meant
               (a new pid namespace, or a uid of its own), and EPERM */
    ANSWER, /* the supervisor gives the row's `error` as the call's value: the kernel is not asked. Without user
               notification: EPERM */
    END,    /* our own code's last word in a run, made of a call that means nothing with these arguments: the supervisor
               ends    the run. Without user notification the run exits by itself */
    KILL,   /* no honest program makes this call */
};

/* Places where a row counts: in a root of its own, where a path can only name what is the run's or read-only, or in the
 * host's tree. Landlock has no say in modes and times. */
enum place { ANYWHERE, ONLY_ROOTED, ONLY_UNROOTED };

enum compare { ARG_ANY, ARG_EQUAL, ARG_OTHER /* than value */, ARG_MASKED /* (arg & mask) == value */ };

struct argument_check {
    uint8_t index;        /* which argument, 0 … 5 */
    uint8_t compare;      /* enum compare */
    uint64_t mask, value; /* 32-bit kernel arguments are compared under mask 0xffffffff */
};

/* One system call. Several ALLOW rows for the same call are alternatives; QUIET rows with checks stand beside them.
 * What no row with checks matches gets what the call's DENY row says, and EPERM where it has none; without user
 * notification it is ENOSYS for all calls with checks. A call has either one row without checks or rows that all have
 * some (and then perhaps a DENY row without). */
struct call_row {
    int number;
    enum verb verb;
    int error;                      /* errno given when denied; EPERM where 0 on DENY rows. ANSWER: the value */
    struct argument_check check[2]; /* all must hold */
    const char *reason;             /* ALLOW: who needs it. QUIET: who falls back. DENY: the hint that users read */
    const char *as;                 /* DENY: what users know it by, where that is not the call's name */
    int8_t detail;                  /* DENY: which argument says more (-1: none) */
    uint8_t only;                   /* enum place */
    bool needs_processes;           /* ALLOW row: only where plan->processes. DENY row: where not; the hint is why */
};

extern const struct call_row policy_calls[];
extern const size_t policy_call_count;

/* Whether all of the row's checks hold for this call. */
bool policy_row_holds(const struct call_row *row, const struct seccomp_data *data);

/* Whether the row is one of this place's. */
static inline bool policy_row_counts(const struct jail_plan *plan, const struct call_row *row)
{
    bool rooted = plan->layers & LAYER_BIT(LAYER_ROOT);
    if (row->only != ANYWHERE && (row->only == ONLY_ROOTED) != rooted)
        return false;
    return !row->needs_processes || plan->processes == (row->verb == ALLOW);
}

/* The call's name, and its checks in words ("argument 1 is 0x406"; "" without). */
void policy_row_text(const struct call_row *row, char *name, size_t name_size, char *condition, size_t condition_size);

/* One resource limit: a fixed value, or what a row of the limits table says. */
struct rlimit_row {
    int resource;
    const char *name;
    int limit;      /* enum limit, or -1: fixed */
    uint64_t value; /* the fixed value */
    bool by_user;   /* counted for all of a user's processes together, not for each */
    const char *reason;
};

extern const struct rlimit_row policy_rlimits[];
extern const size_t policy_rlimit_count;

#endif
