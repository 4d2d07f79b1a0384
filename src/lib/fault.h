/* A fault: an error as a value, {layer, operation, object, errno}, worded in one place.
 *
 * Convention of the code base: a function that can fail returns 0 (or a descriptor, or a count) on success and a
 * negative value on failure; where it takes a `struct fault *`, it has filled it exactly when it returns negative.
 * The struct has no pointers into the heap, so that a cloned child can send it whole to the supervisor. */
#ifndef SAFE_SCRIPT_FAULT_H
#define SAFE_SCRIPT_FAULT_H

#include <stddef.h>

struct fault {
    char layer[16];     /* a layer's name or a process's: "namespaces", "zygote", "front" */
    char operation[24]; /* the system call or step: "mount", "clone3", "write" */
    char object[136];   /* what it was done to: a path, "uid_map of 4711" */
    int error;          /* errno, or 0 where there is none */
};

/* Fills *fault and returns -1, so that callers can write `return fault_set(...)`. `error` is an errno value.
 * object_format is printf-like; what does not fit is cut. Safe in a cloned child (no allocation, no locale). */
int fault_set(struct fault *fault, const char *layer, const char *operation, int error, const char *object_format, ...)
    __attribute__((format(printf, 5, 6)));

/* Writes "namespaces: clone3(new user namespace): Operation not permitted (hint …)" into text and returns it. The
 * hint comes from a table keyed by layer, operation and errno, and names what a person can do. */
char *fault_text(const struct fault *fault, char *text, size_t size);

/* The hint alone, or NULL where the table has none. */
const char *fault_hint(const struct fault *fault);

#endif
