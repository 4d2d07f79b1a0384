#include "files.h"

#include "scope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* As http/request.h and http/report.h have them: what is past these never comes in or is not let out. */
enum { PATH_BYTES = 1024, PATH_DEPTH = 16, PATTERNS = 64 };

/* ---- placing ---- */

/* Makes the directories on the way to path, which is cut at each slash in turn and whole again afterwards. */
static int make_parents(char *path)
{
    for (char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = 0;
        int result = mkdir(path, 0755);
        *slash = '/';
        if (result && errno != EEXIST)
            return -1;
    }
    return 0;
}

static int write_whole(int fd, struct span data)
{
    while (data.length) {
        ssize_t written = write(fd, data.bytes, data.length);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0)
            return -1;
        data.bytes += written;
        data.length -= (size_t)written;
    }
    return 0;
}

int files_place(struct span path, struct span data, char *why, size_t size)
{
    char name[PATH_BYTES + 1];
    if (path.length == 0 || path.length > PATH_BYTES || memchr(path.bytes, 0, path.length)) {
        snprintf(why, size, "files: a path is empty, too long or holds NUL");
        return -1;
    }
    memcpy(name, path.bytes, path.length);
    name[path.length] = 0;
    auto_fd int fd = -1;
    if (make_parents(name) || (fd = open(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644)) < 0 ||
        write_whole(fd, data)) {
        snprintf(why, size, "files: %s: %s", name, strerror(errno));
        return -1;
    }
    return 0;
}

/* ---- patterns ---- */

/* A pattern is a small automaton: state i is "part i is next", state `count` is "matched". A walk carries the set of
 * states of each pattern down the tree, so no directory is entered where nothing can match, and ** costs nothing. */
struct pattern {
    char *text; /* cut into the parts; kept for the rest of this process */
    char *parts[2 * PATH_DEPTH + 1];
    unsigned count;
};

typedef uint64_t states;
#define STATE(i) (UINT64_C(1) << (i))

static struct pattern patterns[PATTERNS];
static size_t pattern_count;

static bool is_any_depth(const char *part)
{
    return strcmp(part, "**") == 0;
}

int files_want(struct span text)
{
    struct pattern *pattern = &patterns[pattern_count];
    if (pattern_count == PATTERNS)
        return -1;
    char *save = NULL;
    pattern->text = strndup((const char *)text.bytes, text.length);
    if (!pattern->text)
        return -1;
    for (char *part = strtok_r(pattern->text, "/", &save); part; part = strtok_r(NULL, "/", &save)) {
        if (pattern->count && is_any_depth(part) && is_any_depth(pattern->parts[pattern->count - 1]))
            continue;
        if (pattern->count == COUNT(pattern->parts)) {
            pattern->count = 0; /* longer than any path: matches nothing */
            break;
        }
        pattern->parts[pattern->count++] = part;
    }
    pattern_count += pattern->count > 0;
    return 0;
}

bool files_wanted(void)
{
    return pattern_count > 0;
}

/* ** may also stand for no directory at all. */
static states close_states(const struct pattern *pattern, states set)
{
    for (unsigned i = 0; i < pattern->count; i++) {
        if (set & STATE(i) && is_any_depth(pattern->parts[i]))
            set |= STATE(i + 1);
    }
    return set;
}

static states step(const struct pattern *pattern, states from, const char *name)
{
    states to = 0;
    for (unsigned i = 0; i < pattern->count; i++) {
        if (!(from & STATE(i)))
            continue;
        if (is_any_depth(pattern->parts[i]))
            to |= *name == '.' ? 0 : STATE(i);
        else if (fnmatch(pattern->parts[i], name, FNM_PERIOD) == 0)
            to |= STATE(i + 1);
    }
    return close_states(pattern, to);
}

/* ---- collecting ---- */

struct walk {
    char path[PATH_BYTES + 1]; /* of the entry that is looked at, relative */
    size_t length;
    unsigned depth, files;
    size_t room;
    bool (*is_text)(const char *name);
    struct buffer *frames;
    enum failure failure; /* of the first that is not there */
};

static void walk_fail(struct walk *walk, enum failure failure)
{
    if (!walk->failure)
        walk->failure = failure;
}

/* The first `size` bytes of a file, or as many as there are; NULL when out of memory. The caller frees. */
static char *read_whole(int fd, size_t size, size_t *length)
{
    char *data = malloc(size + 1);
    *length = 0;
    while (data && *length < size) {
        ssize_t got = read(fd, data + *length, size - *length);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            break;
        *length += (size_t)got;
    }
    return data;
}

static void add_file(struct walk *walk, int directory, const char *name)
{
    struct stat stat;
    size_t length;
    /* O_NONBLOCK: it may have become a FIFO by now. */
    auto_fd int fd = openat(directory, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &stat) || !S_ISREG(stat.st_mode) || !walk->is_text(walk->path))
        return;
    if (walk->files == REPORT_FILES) {
        walk_fail(walk, FAIL_TOO_MANY);
        return;
    }
    if ((uint64_t)stat.st_size > walk->room) {
        walk_fail(walk, FAIL_TOO_BIG);
        return;
    }
    char *data = read_whole(fd, (size_t)stat.st_size, &length);
    if (!data) {
        walk_fail(walk, FAIL_MEMORY);
        return;
    }
    buffer_append_frame(walk->frames, FRAME_FILE_PATH, walk->path, walk->length);
    buffer_append_frame(walk->frames, FRAME_FILE_DATA, data, length);
    free(data);
    walk->room -= length;
    walk->files++;
}

static int by_name(const struct dirent **one, const struct dirent **other)
{
    return strcmp((*one)->d_name, (*other)->d_name);
}

static void walk_directory(struct walk *walk, int directory, const states *from);

static void walk_entry(struct walk *walk, int directory, const char *name, const states *from)
{
    states to[PATTERNS] = {0};
    struct stat stat;
    size_t before = walk->length;
    bool here = false, below = false;
    for (size_t i = 0; i < pattern_count; i++) {
        to[i] = from[i] ? step(&patterns[i], from[i], name) : 0;
        here |= (to[i] & STATE(patterns[i].count)) != 0;
        below |= (to[i] & ~STATE(patterns[i].count)) != 0;
    }
    if ((!here && !below) || before + strlen(name) + 1 > PATH_BYTES ||
        fstatat(directory, name, &stat, AT_SYMLINK_NOFOLLOW))
        return;
    walk->length += (size_t)snprintf(walk->path + before, sizeof walk->path - before, "%s%s", before ? "/" : "", name);
    if (here && S_ISREG(stat.st_mode)) {
        add_file(walk, directory, name);
    } else if (below && S_ISDIR(stat.st_mode) && walk->depth + 1 < PATH_DEPTH) {
        auto_fd int inner = openat(directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        walk->depth++;
        if (inner >= 0)
            walk_directory(walk, inner, to);
        walk->depth--;
    }
    walk->length = before;
    walk->path[before] = 0;
}

static void walk_directory(struct walk *walk, int directory, const states *from)
{
    struct dirent **entries = NULL;
    int count = scandirat(directory, ".", &entries, NULL, by_name);
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0)
            walk_entry(walk, directory, name, from);
        free(entries[i]);
    }
    free(entries);
}

enum failure files_collect(const char *directory, size_t most, bool (*is_text)(const char *name), struct buffer *frames)
{
    struct walk walk = {.room = most, .is_text = is_text, .frames = frames};
    states start[PATTERNS] = {0};
    for (size_t i = 0; i < pattern_count; i++)
        start[i] = close_states(&patterns[i], STATE(0));
    auto_fd int fd = open(directory, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        walk_directory(&walk, fd, start);
    return walk.failure;
}
