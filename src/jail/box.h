/* A run's box where no tmpfs can be mounted for it (the root layer does not hold): a directory of the server's own file
 * system, made before the run and removed after it, with the same three directories as the tmpfs has. The supervisor's
 * part, as cgroup.h is.
 *
 * What the tmpfs gives by itself is done here by looking: box_usage() is asked again and again while the run lives, and
 * the supervisor kills what is past its limits. A file that a script has unlinked and keeps open is not seen; its size
 * is bounded by RLIMIT_FSIZE and all of them by the file system, so one of fixed size (/dev/shm) is the right place.
 *
 * A script wrote what lies in a box: nothing there is opened but directories, none through a link, and nothing is read
 * but names and inodes. A box's name is 128 random bits, because where runs share a uid only rule sets and that keep
 * one from naming another's. */
#ifndef SAFE_SCRIPT_BOX_H
#define SAFE_SCRIPT_BOX_H

#include "fault.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct boxes;
struct box;

struct box_usage {
    uint64_t bytes; /* allocated blocks, not sizes */
    uint64_t inodes;
};

/* Opens the place: `where`, or, when NULL, the first of /dev/shm, /tmp and /var/tmp that can be used. `owner` is a uid
 * that boxes will be given to, or 0. Writes the place's path into path[size]. Removes the boxes that a killed server
 * has left there. NULL with *fault. */
struct boxes *boxes_open(const char *where, uid_t owner, char *path, size_t size, struct fault *fault);
void boxes_close(struct boxes *boxes);
/* What is free in the place; UINT64_MAX for what it does not count. */
struct box_usage boxes_room(const struct boxes *boxes);

/* A new, empty box whose three directories belong to `owner` (0: to the server). NULL with *fault. */
struct box *box_new(struct boxes *boxes, uid_t owner, struct fault *fault);
/* Its name in the place; the box's own. */
const char *box_name(const struct box *box);
/* Returns true when the box may have changed since the last call, and then fills *usage. */
bool box_usage(struct box *box, struct box_usage *usage);
/* Whether others' files have taken room of the place that this box was to have. */
bool box_is_short(struct box *box, uint64_t bytes, uint64_t inodes);
/* Removes it with all that is in it; nobody may be alive who could change it. Returns 0, or -1 with *fault when
 * something stayed. */
int box_free(struct box *box, struct fault *fault);

#endif
