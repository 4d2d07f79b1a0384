/* What the supervisor gives up once everything is begun that takes more: see sandbox.h. The starter keeps it. */
#include "engine.h"

#include "cgroup.h"
#include "sandbox.h"
#include "scope.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static bool has_other_uids(const struct engine *engine)
{
    return engine->plan.zygote_uid != 0;
}

static bool has_boxes(const struct engine *engine)
{
    return engine->boxes != NULL;
}

/* The top of a hierarchy belongs to root and has no permission to write; what was made there has to go in the end. */
static bool has_locked_bases(const struct engine *engine)
{
    int bases[CGROUPS_MOST];
    struct stat status;
    size_t count = engine->cgroups ? cgroups_bases(engine->cgroups, bases) : 0;
    bool locked = false;
    for (size_t i = 0; i < count; i++)
        locked |= fstat(bases[i], &status) || status.st_uid != geteuid() || !(status.st_mode & S_IWUSR);
    return locked;
}

/* Every capability that is left to a supervisor that had it. Rows of one capability are alternatives. */
static const struct {
    int capability;
    bool (*needed)(const struct engine *engine);
} kept[] = {
    {CAP_KILL, has_other_uids},    /* to end what has another uid */
    {CAP_CHOWN, has_boxes},        /* to give a box to its run … */
    {CAP_DAC_OVERRIDE, has_boxes}, /* … and to remove what the run left in it … */
    {CAP_FOWNER, has_boxes},       /* … from a directory with the sticky bit, too */
    {CAP_DAC_OVERRIDE, has_locked_bases},
};

enum { ROOMS_MOST = CGROUPS_MOST + 1 + LISTEN_MOST };

/* Where it may change files; the descriptors are the caller's. */
static size_t open_rooms(const struct engine *engine, struct sandbox_room rooms[ROOMS_MOST])
{
    static const char prefix[] = "unix:";
    int bases[CGROUPS_MOST];
    size_t count = 0, cgroups = engine->cgroups ? cgroups_bases(engine->cgroups, bases) : 0;
    while (count < cgroups) {
        rooms[count] = (struct sandbox_room){fcntl(bases[count], F_DUPFD_CLOEXEC, 0), ROOM_ALL};
        count++;
    }
    if (has_boxes(engine))
        rooms[count++] = (struct sandbox_room){open(engine->plan.boxes, O_PATH | O_CLOEXEC), ROOM_ALL};
    for (size_t i = 0; i < engine->listening_count; i++) {
        const char *path = engine->listening[i].address, *slash = strrchr(path, '/');
        char directory[sizeof engine->listening[i].address];
        if (engine->listening[i].inherited || strncmp(path, prefix, sizeof prefix - 1) != 0)
            continue;
        path += sizeof prefix - 1;
        snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash - path) + 1 : 1, slash ? path : ".");
        rooms[count++] = (struct sandbox_room){open(directory, O_PATH | O_CLOEXEC), ROOM_REMOVE};
    }
    return count;
}

int engine_confine(const struct engine *engine, struct fault *fault)
{
    struct sandbox_room rooms[ROOMS_MOST];
    uint32_t capabilities = 0;
    for (size_t i = 0; i < COUNT(kept); i++)
        capabilities |= kept[i].needed(engine) ? UINT32_C(1) << kept[i].capability : 0;
    size_t count = open_rooms(engine, rooms);
    int result = sandbox_supervisor(capabilities, rooms, count, fault);
    for (size_t i = 0; i < count; i++)
        drop_fd(&rooms[i].directory);
    /* Before Linux 5.14 who is not dumpable cannot see what its own pidfds name (slot.c). */
    if (result == 0 && access("/proc/self/fdinfo/0", R_OK))
        prctl(PR_SET_DUMPABLE, 1, 0, 0, 0);
    return result;
}
