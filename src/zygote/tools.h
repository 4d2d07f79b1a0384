/* What the zygote keeps of its interpreter: the bootstrap's tools, which everything about a run uses, and what a clone
 * does to the interpreter before it is a run. All of it was taken before the first line of a script; what a script can
 * still reach of it can only spoil its own texts. */
#ifndef SAFE_SCRIPT_TOOLS_H
#define SAFE_SCRIPT_TOOLS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "fault.h"

#include <stdbool.h>
#include <stddef.h>

/* References of ours, for ever: bootstrap.py says what each is. */
struct tools {
    PyObject *compile, *read_input, *parameter, *search, *format_exception, *line_cache, *coroutine, *function,
        *type_name, *type_module, *error_number, *bit_length, *stdout, *stderr, *flush, *random_seed, *renew,
        *renew_thread, *calm, *threads, *fork_hooks, *settle, *rehearsal, *builtins;
};

extern struct tools tools;

/* Takes them from the bootstrap's dict. In the zygote, once. Returns 0, or -1 with *fault. */
int tools_capture(PyObject *given, struct fault *fault);

/* How many threads Python knows of, as the bootstrap counted them. */
size_t tools_threads(void);

/* Whether a library wants to be told before and after a fork. */
bool tools_has_fork_hooks(void);

/* Calls each of a tuple of callables without arguments; what they raise is dropped. */
void tools_call_each(PyObject *callables);

/* In a clone: random numbers of its own for every library that keeps state. */
void tools_renew(void);

/* In a clone: the main thread's number. */
void tools_renew_thread(void);

/* The working directory of runs, or of this one, is where modules are looked for first. */
void tools_enter(const char *directory);

/* What an import has found out about a directory, where it was not there yet. */
void tools_forget(const char *directory);

#endif
