/* The interpreter that the operator named: what it is and which paths the jail must show for it. */
#ifndef SAFE_SCRIPT_INTERPRETER_H
#define SAFE_SCRIPT_INTERPRETER_H

#include "fault.h"
#include "jail.h"

enum { INTERPRETER_PATHS = 48, INTERPRETER_PACKAGES = 1000 };

struct interpreter {
    char executable[4096]; /* as it is to be exec'ed: a venv's python is not resolved, its prefix hangs on the name */
    char version[64];      /* "CPython 3.11.2" */
    struct jail_path paths[INTERPRETER_PATHS]; /* host paths; strings here and below lie in `text` */
    size_t path_count;
    struct interpreter_package {
        const char *name, *version;
    } packages[INTERPRETER_PACKAGES]; /* what scripts can import besides the standard library, by name */
    size_t package_count;
    char text[65536];
};

/* Asks the interpreter itself (it is run once, isolated from the environment and, where we are root, as `uid` with no
 * capability but reading files). Refuses what is not CPython 3.9 or later. Returns 0, or -1 with *fault. */
int interpreter_find(struct interpreter *interpreter, const char *python, uid_t uid, struct fault *fault);

#endif
