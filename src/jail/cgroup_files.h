/* Private to the cgroup layer: where the hierarchies are, the table of their files, and reading and writing them. */
#ifndef SAFE_SCRIPT_CGROUP_FILES_H
#define SAFE_SCRIPT_CGROUP_FILES_H

#include "fault.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum controller { MEMORY, PIDS, CPUACCT, CPU, CONTROLLER_COUNT };

#define CONTROLLER_BIT(id) (UINT32_C(1) << (id))

enum { HIERARCHIES_MOST = CONTROLLER_COUNT };

/* One mounted tree; on v1 each controller may have its own, on v2 there is one. */
struct hierarchy {
    uint32_t controllers; /* set of CONTROLLER_BIT that we use in it */
    int base, own;        /* directories: the cgroup that we were started in, and ours below it */
    dev_t device;         /* tells mounts apart */
    bool climbed;         /* v2: base is not our own cgroup but one above it */
    char path[160];       /* of base, for messages */
};

enum file {
    FILE_MEMORY_LIMIT,
    FILE_SWAP_LIMIT,
    FILE_MEMORY_USAGE,
    FILE_MEMORY_PEAK,
    FILE_MEMORY_EVENTS,
    FILE_MEMORY_EMPTY,
    FILE_OOM_GROUP,
    FILE_PIDS_LIMIT,
    FILE_PIDS_PEAK,
    FILE_PIDS_EVENTS,
    FILE_CPU_USAGE,
    FILE_COUNT
};

struct cgroup_file {
    const char *v1, *v2; /* NULL: that version has none */
    enum controller controller;
    bool needed;
};

extern const struct cgroup_file cgroup_files[FILE_COUNT];

#define CGROUP_UNKNOWN UINT64_MAX          /* no such file, or no such key in it */
#define CGROUP_RESIDUE (UINT64_C(2) << 20) /* memory of an earlier run that is worth the reclaim */
#define CGROUP_RECLAIM (UINT64_C(1) << 40) /* v2 memory.reclaim: all that can be had */

/* Finds the hierarchies with memory and pids (and cpuacct, cpu), preferring v1's where they are mounted, and opens the
 * caller's own cgroup in each. Returns their number or -1 with *fault. */
int cgroup_find(struct hierarchy hierarchies[HIERARCHIES_MOST], bool *v2, struct fault *fault);

/* v2: `base` becomes the next cgroup above that has the controllers. Returns 0, or -1 at the mount's top. */
int cgroup_climb(struct hierarchy *hierarchy);

/* What a cgroup and those above it let all their processes have together; UINT64_MAX: as much as there is. */
struct cgroup_bounds {
    uint64_t memory_bytes;
    uint64_t cpu_thousandths;   /* of one core */
    uint64_t memory_left_bytes; /* of that memory: not used, or by files that are only cached */
    uint64_t processes;
};

/* Lowers bounds to what the files of one directory say, whichever version they are of. */
void cgroup_lower_bounds(int directory, struct cgroup_bounds *bounds);

/* The bounds that we ourselves are under: those of our cgroups and of all above them that can be seen from here. */
struct cgroup_bounds cgroup_own_bounds(void);

void cgroup_describe(const struct hierarchy *hierarchies, int count, bool v2, char *text, size_t size);

/* Writes text to a file below directory. Returns 0, or -1 with errno. */
int cgroup_write(int directory, const char *file, const char *text);
/* Writes a number to an open file; a negative descriptor is fine where the file is not there. */
int cgroup_put(int fd, uint64_t value);
/* The number after key at the start of a line, or at the start of the file with key NULL; CGROUP_UNKNOWN. */
uint64_t cgroup_number(int fd, const char *key);
/* v2: moves all that are in `leaf` of `from` to `to`. */
void cgroup_move_all(int from, const char *leaf, int to);
/* Sends SIGKILL to all in the cgroup. Returns how many there were, -1 when that cannot be told. */
int cgroup_kill_all(int directory);

#endif
