#include "box.h"

#include "scope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define LAYER  "box"
#define PREFIX "safe-script-box-"

enum { DEPTH_MOST = 100, NAME_BYTES = sizeof PREFIX + 32 };

static const char *const places[] = {"/dev/shm", "/tmp", "/var/tmp"};
static const char *const parts[] = {"work", "tmp", "shm"};

struct boxes {
    int place;
};

struct box {
    struct boxes *boxes;
    int directory; /* also its lock: a box without one is a dead server's */
    char name[NAME_BYTES];
    struct statvfs seen;
};

static bool is_dot(const char *name)
{
    return name[0] == '.' && (!name[1] || (name[1] == '.' && !name[2]));
}

static int open_directory(int parent, const char *name)
{
    return openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* A stream over a descriptor of its own. */
static DIR *list(int directory)
{
    auto_fd int fd = open_directory(directory, ".");
    DIR *stream = fd < 0 ? NULL : fdopendir(fd);
    if (stream)
        take_fd(&fd);
    return stream;
}

/* ---- removing ---- */

/* Its owner may have closed it to everybody. Nobody is left who could put a link in its place meanwhile. */
static void open_up(int parent, const char *name)
{
    struct stat status;
    if (fstatat(parent, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(status.st_mode))
        (void)!fchmodat(parent, name, 0700, 0); /* what it cannot open stays and is told of */
}

/* Empties `directory`. What is a directory in it is moved up into `top` first, under a name that no script can have
 * guessed, so that no depth matters; the caller comes to it there. */
static bool empty(int top, int directory, uint64_t *moved, const char *token)
{
    bool clean = true;
    DIR *stream = list(directory);
    if (!stream)
        return false;
    for (struct dirent *entry; (entry = readdir(stream));) {
        char name[NAME_BYTES + 24];
        if (is_dot(entry->d_name) || unlinkat(directory, entry->d_name, 0) == 0)
            continue;
        /* A directory can only be moved by who may write it. */
        open_up(directory, entry->d_name);
        snprintf(name, sizeof name, "%s-%" PRIu64, token, ++*moved);
        clean = renameat(directory, entry->d_name, top, name) == 0 && clean;
    }
    closedir(stream);
    return clean;
}

/* One pass over the top: each directory in it is emptied and removed. Returns how many names were met, -1 when one
 * would not go. */
static int sweep(int top, uint64_t *moved, const char *token)
{
    int met = 0;
    DIR *stream = list(top);
    if (!stream)
        return -1;
    for (struct dirent *entry; met >= 0 && (entry = readdir(stream));) {
        if (is_dot(entry->d_name))
            continue;
        met++;
        if (unlinkat(top, entry->d_name, 0) == 0)
            continue;
        open_up(top, entry->d_name);
        auto_fd int directory = open_directory(top, entry->d_name);
        if (directory < 0 || !empty(top, directory, moved, token) || unlinkat(top, entry->d_name, AT_REMOVEDIR))
            met = -1;
    }
    closedir(stream);
    return met;
}

static int remove_box(int place, const char *name, int directory, struct fault *fault)
{
    uint64_t moved = 0;
    int met = 1;
    while (met > 0)
        met = sweep(directory, &moved, name);
    if (met < 0 || unlinkat(place, name, AT_REMOVEDIR))
        return fault_set(fault, LAYER, "remove", errno, "%s", name);
    return 0;
}

/* ---- the place ---- */

static struct box *box_open(struct boxes *boxes, struct fault *fault)
{
    uint8_t random[16];
    struct box *box = calloc(1, sizeof *box);
    if (!box) {
        fault_set(fault, LAYER, "calloc", ENOMEM, "a box");
        return NULL;
    }
    *box = (struct box){.boxes = boxes, .directory = -1, .name = PREFIX};
    if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
        memset(random, 0, sizeof random); /* cannot be, for so few bytes; a name that is taken is refused */
    for (size_t i = 0; i < sizeof random; i++)
        sprintf(box->name + sizeof PREFIX - 1 + 2 * i, "%02x", random[i]);
    return box;
}

static int box_make(struct box *box, uid_t owner, struct fault *fault)
{
    int place = box->boxes->place;
    if (mkdirat(place, box->name, 0711))
        return fault_set(fault, LAYER, "mkdir", errno, "%s", box->name);
    box->directory = open_directory(place, box->name);
    if (box->directory < 0 || flock(box->directory, LOCK_EX | LOCK_NB))
        return fault_set(fault, LAYER, "open", errno, "%s", box->name);
    for (size_t i = 0; i < COUNT(parts); i++) {
        if (mkdirat(box->directory, parts[i], 0700) ||
            (owner && fchownat(box->directory, parts[i], owner, owner, AT_SYMLINK_NOFOLLOW)))
            return fault_set(fault, LAYER, "mkdir", errno, "%s/%s for uid %u", box->name, parts[i], owner);
    }
    return 0;
}

struct box *box_new(struct boxes *boxes, uid_t owner, struct fault *fault)
{
    struct fault other;
    struct box *box = box_open(boxes, fault);
    if (box && box_make(box, owner, fault)) {
        if (box->directory >= 0)
            box_free(box, &other);
        else
            free(box);
        return NULL;
    }
    return box;
}

/* Boxes of ours whose lock nobody holds any more. */
static void remove_old(int place)
{
    struct fault fault;
    struct stat status;
    DIR *stream = list(place);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        if (strncmp(entry->d_name, PREFIX, sizeof PREFIX - 1) != 0)
            continue;
        auto_fd int directory = open_directory(place, entry->d_name);
        if (directory >= 0 && fstat(directory, &status) == 0 && status.st_uid == geteuid() &&
            flock(directory, LOCK_EX | LOCK_NB) == 0)
            remove_box(place, entry->d_name, directory, &fault);
    }
    if (stream)
        closedir(stream);
}

/* A place is one where a box can be made, given away, and removed. */
static int try_place(struct boxes *boxes, const char *path, uid_t owner, struct fault *fault)
{
    boxes->place = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (boxes->place < 0)
        return fault_set(fault, LAYER, "open", errno, "%s", path);
    struct box *box = box_new(boxes, owner, fault);
    if (box && box_free(box, fault) == 0)
        return 0;
    drop_fd(&boxes->place);
    return -1;
}

struct boxes *boxes_open(const char *where, uid_t owner, char *path, size_t size, struct fault *fault)
{
    auto_free struct boxes *boxes = calloc(1, sizeof *boxes);
    if (!boxes) {
        fault_set(fault, LAYER, "calloc", ENOMEM, "boxes");
        return NULL;
    }
    for (size_t i = 0; i < (where ? 1 : COUNT(places)); i++) {
        const char *place = where ? where : places[i];
        if (snprintf(path, size, "%s", place) >= (int)size) {
            fault_set(fault, LAYER, "open", ENAMETOOLONG, "%s", place);
            continue;
        }
        if (try_place(boxes, place, owner, fault))
            continue;
        remove_old(boxes->place);
        return take(boxes);
    }
    return NULL; /* NOLINT(clang-analyzer-unix.Malloc): its scope frees it */
}

void boxes_close(struct boxes *boxes)
{
    if (boxes)
        drop_fd(&boxes->place);
    free(boxes);
}

struct box_usage boxes_room(const struct boxes *boxes)
{
    struct statvfs now;
    if (fstatvfs(boxes->place, &now))
        return (struct box_usage){UINT64_MAX, UINT64_MAX};
    return (struct box_usage){.bytes = (uint64_t)now.f_bavail * now.f_frsize,
                              .inodes = now.f_files ? now.f_favail : UINT64_MAX};
}

/* ---- one box ---- */

const char *box_name(const struct box *box)
{
    return box->name;
}

/* Adds up what lies below; too deep counts as too much. */
static void add_up(int directory, int depth, struct box_usage *usage)
{
    DIR *stream = list(directory);
    for (struct dirent *entry; stream && (entry = readdir(stream));) {
        struct stat status;
        if (is_dot(entry->d_name) || fstatat(directory, entry->d_name, &status, AT_SYMLINK_NOFOLLOW))
            continue;
        usage->inodes++;
        usage->bytes += (uint64_t)status.st_blocks * 512 / (S_ISDIR(status.st_mode) ? 1 : status.st_nlink);
        if (!S_ISDIR(status.st_mode))
            continue;
        auto_fd int below = open_directory(directory, entry->d_name);
        if (depth == DEPTH_MOST)
            usage->inodes = UINT32_MAX;
        else if (below >= 0)
            add_up(below, depth + 1, usage);
    }
    if (stream)
        closedir(stream);
}

bool box_usage(struct box *box, struct box_usage *usage)
{
    struct statvfs now;
    if (fstatvfs(box->directory, &now))
        return false;
    bool same = now.f_bfree == box->seen.f_bfree && now.f_ffree == box->seen.f_ffree;
    box->seen = now;
    if (same)
        return false;
    *usage = (struct box_usage){0};
    add_up(box->directory, 0, usage);
    return true;
}

/* What directories and started blocks take is in nobody's share. */
static bool is_less(uint64_t have, uint64_t wanted)
{
    return have < wanted - wanted / 8;
}

bool box_is_short(struct box *box, uint64_t bytes, uint64_t inodes)
{
    struct box_usage room = boxes_room(box->boxes), usage = {0};
    if (room.bytes >= bytes && room.inodes >= inodes)
        return false;
    add_up(box->directory, 0, &usage);
    return (room.bytes < bytes && is_less(room.bytes + usage.bytes, bytes)) ||
           (room.inodes < inodes && is_less(room.inodes + usage.inodes, inodes));
}

int box_free(struct box *box, struct fault *fault)
{
    int result = remove_box(box->boxes->place, box->name, box->directory, fault);
    drop_fd(&box->directory);
    free(box);
    return result;
}
