/* The interpreter that the operator named: what it is and which paths the jail must show for it. */
#ifndef SAFE_SCRIPT_INTERPRETER_H
#define SAFE_SCRIPT_INTERPRETER_H

#include "environment.h"
#include "fault.h"
#include "jail.h"

enum { INTERPRETER_PATHS = 48, INTERPRETER_PACKAGES = 1000 };

struct interpreter {
    const char *path;      /* directories besides its own, with a colon between two; "": none */
    char executable[4096]; /* as it is to be exec'ed: a venv's python is not resolved, its prefix hangs on the name */
    char version[64];      /* "CPython 3.11.2" */
    struct jail_path paths[INTERPRETER_PATHS]; /* host paths; strings here and below lie in `text` */
    size_t path_count;
    struct interpreter_package {
        const char *name, *version;
    } packages[INTERPRETER_PACKAGES]; /* what scripts can import besides the standard library, by name */
    size_t package_count;
    char missing[ENVIRONMENT_MODULES]; /* modules that were asked for and that it has not, a blank after each */
    char text[65536];
};

/* Asks the interpreter itself (it is run once, isolated from the environment and, where we are root, as `uid` with no
 * capability but reading files). `path` stays the caller's. Refuses what is not CPython 3.9 or later. Returns 0, or -1
 * with *fault. */
int interpreter_find(struct interpreter *interpreter, const char *python, const char *path, const char *modules,
                     uid_t uid, struct fault *fault);

/* Whether `words`, with blanks between them, have this one. */
bool has_word(const char *words, const char *word, size_t length);

bool interpreter_has_package(const struct interpreter *interpreter, const char *name);

#endif
