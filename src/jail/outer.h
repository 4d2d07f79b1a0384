/* A jail that people already trust around each run: bubblewrap or nsjail in place of the zygote's clone.
 *
 * Each run is then a program of its own, `bwrap … -- python3 bootstrap.py 3`, begun by safe-script-launch. The tool
 * gives the namespaces and the read-only root; identity, rlimits, Landlock and the system-call filter are ours as ever
 * and are applied inside of it, and so is the tmpfs to work in: the tool leaves the run the capabilities of its own
 * user namespace for that, which it gives up with the identity layer, before any script.
 *
 * Trusts the operator's choice of tool and configuration. Owns nothing. */
#ifndef SAFE_SCRIPT_OUTER_H
#define SAFE_SCRIPT_OUTER_H

#include "jail.h"

/* The tool, and where our own files are. The strings stay the caller's and must outlive every use. */
struct outer {
    uint32_t engine;     /* enum jail_engine, not ENGINE_CLONE */
    const char *program; /* absolute */
    const char *config;  /* nsjail's; NULL: the one in `library` */
    const char *library; /* directory of our executables and of nsjail.cfg */
};

/* Arguments for execve(); texts are heap memory that goes with the process, which is about to exec. */
enum { WORDS_MOST = 4096 };
struct words {
    const char *word[WORDS_MOST + 1];
    size_t count;
    bool failed; /* no memory, or more than WORDS_MOST */
};
void words_add(struct words *words, const char *text);

/* Where the tool is: `name` itself when it has a slash, else the first of that name on PATH. Returns 0, or -1 with
 * *fault. */
int outer_find(const char *name, char *path, size_t size, struct fault *fault);

/* The tool's command line up to and including "--": namespaces, and the policy's paths plus `extra`, read-only. Returns
 * 0, or -1 with *fault. */
int outer_command(const struct outer *outer, const struct jail_path *extra, size_t extra_count, struct words *words,
                  struct fault *fault);

/* What jail_probe() is to try for a plan with plan->engine; before it. */
void outer_use(const struct outer *outer);

/* The wait status of what ran inside, from the tool's own. The tools give a signal N on as exit status 128 + N, as a
 * shell does, and so a script that itself exits with such a status passes for one that a signal ended. */
int outer_status(uint32_t engine, int status);

/* In the tool's jail, called by `safe-script-launch --check` for the probe: whether it is the jail that the layers ask
 * for. With `nested` only whether nested user namespaces can be forbidden. Returns 0, or -1 with *fault. */
int outer_check(bool nested, struct fault *fault);

#endif
