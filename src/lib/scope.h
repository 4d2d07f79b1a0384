/* Scope-owned resources: the one cleanup idiom of this code base.
 *
 *   auto_fd int fd = open(...);        closed when fd leaves its scope (unless negative)
 *   auto_free char *text = strdup(..); freed when text leaves its scope
 *   return take_fd(&fd);               hands the descriptor to the caller and disowns it
 *
 * A cloned child never unwinds: it reports its fault and calls _exit(). */
#ifndef SAFE_SCRIPT_SCOPE_H
#define SAFE_SCRIPT_SCOPE_H

#include <stddef.h>
#include <stdlib.h>
#include <unistd.h>

static inline void scope_close(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static inline void scope_free(void *memory)
{
    free(*(void **)memory);
}

#define auto_fd   __attribute__((cleanup(scope_close)))
#define auto_free __attribute__((cleanup(scope_free)))

static inline int take_fd(int *fd)
{
    int taken = *fd;
    *fd = -1;
    return taken;
}

/* Closes *fd if it is open and marks it closed: for descriptors that live in structs. */
static inline void drop_fd(int *fd)
{
    scope_close(fd);
    *fd = -1;
}

#define take(pointer)                                                                                                  \
    ({                                                                                                                 \
        __typeof__(pointer) *take_from = &(pointer);                                                                   \
        __typeof__(pointer) taken = *take_from;                                                                        \
        *take_from = NULL;                                                                                             \
        taken;                                                                                                         \
    })

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#endif
