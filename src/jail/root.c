/* The root layer: a small read-only tree in place of the host's, and in each run a tmpfs of its own to work in.
 *
 * Trusts the policy and the interpreter's paths (the operator's), and walks the host's tree as root before any of it is
 * left. Owns nothing afterwards: the tree lives as long as the zygote and its runs.
 *
 * The template: every path is first cloned as a detached mount (open_tree(2)), while the host's tree and the privilege
 * to walk it are there; then a tmpfs gets the mount points and the host's symbolic links (/lib -> usr/lib), the clones
 * are moved in, read-only, nosuid, nodev, and the tmpfs becomes the root. No /proc, no /sys, no device but five that
 * hold no state. A run's user namespace is not the mounts' owner, so it could not undo the flags even with capabilities
 * (mount_namespaces(7), locked flags).
 *
 * Each mount is work for the kernel at each run's clone and at its end, so small files of root's that all may read, and
 * directories of few of them, are not mounts but copies, as they were when the template was built.
 *
 * What all runs share is the page cache of the host's files, read-only; so nothing that writes it without write access
 * (splice, AF_ALG) is among a run's system calls. */
#include "layers.h"

#include "scope.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define LAYER "root"

/* Of copies: bytes of one file, of all, entries of one directory with what lies below. As certificates need them. */
enum { LINKS_MOST = 40, SHOWN_MOST = 2048, COPY_MOST = 256 << 10, COPIES_MOST = 2 << 20, ENTRIES_MOST = 512 };

/* Something to be shown at `at`: a symbolic link (`link` is its text), or a mount or a copy of `source`, which is a
 * file
 * (`text`) or a directory (`copied`; what is in it follows). */
struct shown {
    char *at, *source, *link, *text;
    uint64_t attributes;
    int tree;
    bool copied;
    struct stat status; /* of what is copied */
};

struct tree {
    struct shown shown[SHOWN_MOST];
    size_t count;
    off_t copied; /* bytes, in whole pages, as the tmpfs has them */
};

static int add(struct tree *tree, const char *at, const char *source, const char *link, uint64_t attributes,
               struct fault *fault)
{
    if (tree->count == SHOWN_MOST)
        return fault_set(fault, LAYER, "collect", E2BIG, "%s", at);
    struct shown *shown = &tree->shown[tree->count++];
    *shown = (struct shown){.at = strdup(at),
                            .source = source ? strdup(source) : NULL,
                            .link = link ? strdup(link) : NULL,
                            .attributes = attributes,
                            .tree = -1};
    if (!shown->at || (source && !shown->source) || (link && !shown->link))
        return fault_set(fault, LAYER, "collect", ENOMEM, "%s", at);
    return 0;
}

/* Takes the first component off *rest. Returns its length, 0 at the end. */
static size_t component(const char **rest, const char **name)
{
    *rest += strspn(*rest, "/");
    *name = *rest;
    *rest += strcspn(*rest, "/");
    return (size_t)(*rest - *name);
}

/* Walks a host path link by link. Every link met is added at its place; `physical` receives the path without links.
 * Returns 0, 1 when the path does not exist, or -1 with *fault. */
static int walk(struct tree *tree, const char *path, char physical[PATH_MAX], struct fault *fault)
{
    char rest_text[PATH_MAX], next_text[PATH_MAX], target[PATH_MAX];
    const char *rest = rest_text, *name;
    size_t length, done = 0;
    int links = 0;
    if (strlen(path) >= PATH_MAX)
        return fault_set(fault, LAYER, "walk", ENAMETOOLONG, "%s", path);
    strcpy(rest_text, path);
    physical[0] = 0;
    while ((length = component(&rest, &name))) {
        struct stat status;
        if (length == 1 && name[0] == '.')
            continue;
        if (length == 2 && name[0] == '.' && name[1] == '.') {
            while (done && physical[--done] != '/') {
            }
            physical[done] = 0;
            continue;
        }
        if (done + length + 2 > PATH_MAX)
            return fault_set(fault, LAYER, "walk", ENAMETOOLONG, "%s", path);
        size_t parent = done;
        done += (size_t)sprintf(physical + done, "/%.*s", (int)length, name);
        if (lstat(physical, &status))
            return errno == ENOENT || errno == ENOTDIR ? 1 : fault_set(fault, LAYER, "lstat", errno, "%s", physical);
        if (!S_ISLNK(status.st_mode))
            continue;
        ssize_t size = readlink(physical, target, sizeof target - 1);
        if (size <= 0 || ++links > LINKS_MOST)
            return fault_set(fault, LAYER, "readlink", size < 0 ? errno : ELOOP, "%s", physical);
        target[size] = 0;
        if (add(tree, physical, NULL, target, 0, fault))
            return -1;
        if (snprintf(next_text, sizeof next_text, "%s/%s", target, rest) >= (int)sizeof next_text)
            return fault_set(fault, LAYER, "walk", ENAMETOOLONG, "%s", path);
        strcpy(rest_text, next_text);
        rest = rest_text;
        done = target[0] == '/' ? 0 : parent;
        physical[done] = 0;
    }
    return 0;
}

static int collect(struct tree *tree, const struct jail_path *path, struct fault *fault)
{
    char physical[PATH_MAX] = "";
    struct stat status = {0};
    uint64_t attributes = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID;
    int missing = walk(tree, path->host, physical, fault);
    if (missing < 0 || (missing && path->optional))
        return missing < 0 ? -1 : 0;
    if (missing || !physical[0] || lstat(physical, &status))
        return fault_set(fault, LAYER, "find", missing ? ENOENT : EINVAL, "%s", path->host);
    attributes |= S_ISCHR(status.st_mode) ? 0 : MOUNT_ATTR_NODEV;
    attributes |= path->data || S_ISCHR(status.st_mode) ? MOUNT_ATTR_NOEXEC : 0;
    return add(tree, path->at ? path->at : physical, physical, NULL, attributes, fault);
}

/* "/a/b" is below "/a", and so is "/a" itself. Returns what follows, or NULL. */
static const char *below(const char *path, const char *top)
{
    size_t length = strlen(top);
    return strncmp(path, top, length) == 0 && (path[length] == '/' || !path[length]) ? path + length : NULL;
}

/* Shorter paths sort before what lies below them; of equals, mounts before links. */
static int by_place(const void *a, const void *b)
{
    const struct shown *left = a, *right = b;
    int order = strcmp(left->at, right->at);
    return order ? order : (left->link != NULL) - (right->link != NULL);
}

/* True when a mount already shows this: the same file or directory at the same place, or a link inside of it. */
static bool is_shown_already(const struct tree *tree, size_t index)
{
    const struct shown *one = &tree->shown[index];
    for (size_t i = 0; i < index; i++) {
        const struct shown *other = &tree->shown[i];
        const char *rest = other->link && strcmp(other->at, one->at) != 0 ? NULL : below(one->at, other->at);
        if (!rest)
            continue;
        if (one->link || other->link)
            return true;
        const char *within = below(one->source, other->source);
        if (within && strcmp(within, rest) == 0)
            return true;
    }
    return false;
}

static void prune(struct tree *tree)
{
    size_t kept = 0;
    qsort(tree->shown, tree->count, sizeof tree->shown[0], by_place);
    for (size_t i = 0; i < tree->count; i++) {
        tree->shown[kept] = tree->shown[i];
        kept += is_shown_already(tree, kept) ? 0 : 1;
    }
    tree->count = kept;
}

static int set_attributes(int mount_fd, uint64_t attributes, const char *path, struct fault *fault)
{
    struct mount_attr set = {.attr_set = attributes};
    if (mount_setattr(mount_fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &set, sizeof set))
        return fault_set(fault, LAYER, "mount_setattr", errno, "%s", path);
    return 0;
}

/* Whether a copy is the same to everybody: what we make is root's, all may read what this process can, and no program
 * or library can be used from our tmpfs. (A directory of links is none.) */
static bool may_copy(const struct shown *shown, mode_t needed)
{
    const struct stat *status = &shown->status;
    bool program = S_ISREG(status->st_mode) && !(shown->attributes & MOUNT_ATTR_NOEXEC);
    return geteuid() == 0 && !program && status->st_uid == 0 && status->st_gid == 0 &&
           (status->st_mode & (S_ISUID | S_ISGID | needed)) == needed;
}

/* Takes the text of what will be a copy. Returns false for what has to be a mount. */
static bool take_text(struct tree *tree, struct shown *shown)
{
    auto_fd int file = open(shown->source, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (file < 0 || fstat(file, &shown->status) || !S_ISREG(shown->status.st_mode) || !may_copy(shown, 0444))
        return false;
    off_t page = sysconf(_SC_PAGESIZE), takes = (shown->status.st_size + page - 1) / page * page;
    if (shown->status.st_size > COPY_MOST || tree->copied + takes > COPIES_MOST)
        return false;
    auto_free char *text = malloc((size_t)shown->status.st_size + 1);
    /* One that changes meanwhile would be cut. */
    if (!text || read(file, text, (size_t)shown->status.st_size + 1) != shown->status.st_size)
        return false;
    tree->copied += takes;
    shown->text = take(text);
    return true;
}

static bool take_entries(struct tree *tree, size_t index, size_t most);

/* One entry of a directory that is copied: a link, a file, a directory. */
static bool take_entry(struct tree *tree, const struct shown *parent, const char *name, size_t most)
{
    char at[PATH_MAX], source[PATH_MAX], target[PATH_MAX];
    struct fault fault;
    if (snprintf(at, sizeof at, "%s/%s", parent->at, name) >= (int)sizeof at ||
        snprintf(source, sizeof source, "%s/%s", parent->source, name) >= (int)sizeof source)
        return false;
    ssize_t size = readlink(source, target, sizeof target - 1);
    target[size > 0 ? size : 0] = 0;
    if (add(tree, at, source, size > 0 ? target : NULL, parent->attributes, &fault))
        return false;
    struct shown *shown = &tree->shown[tree->count - 1];
    return shown->link || take_text(tree, shown) || take_entries(tree, tree->count - 1, most);
}

/* Returns false where something in it has to be a mount, or there is too much; what has been added is then void. */
static bool take_entries(struct tree *tree, size_t index, size_t most)
{
    struct shown *shown = &tree->shown[index];
    auto_fd int directory = open(shown->source, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (directory < 0 || fstat(directory, &shown->status) || !may_copy(shown, 0555))
        return false;
    DIR *entries = fdopendir(directory);
    if (!entries)
        return false;
    take_fd(&directory);
    bool whole = true;
    for (struct dirent *entry; whole && (entry = readdir(entries));) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            whole = tree->count < most && take_entry(tree, shown, entry->d_name, most);
    }
    closedir(entries);
    shown->copied = whole;
    return whole;
}

static bool take_directory(struct tree *tree, size_t index)
{
    size_t count = tree->count, most = count + ENTRIES_MOST;
    off_t copied = tree->copied;
    if (take_entries(tree, index, most < SHOWN_MOST ? most : SHOWN_MOST))
        return true;
    tree->count = count; /* NOLINT(clang-analyzer-unix.Malloc): the texts go with the process, which is about to exec */
    tree->copied = copied;
    return false;
}

/* Detached copies of all mounts, with their flags: from here on the host's tree is not needed. */
static int copy_mounts(struct tree *tree, struct fault *fault)
{
    const size_t count = tree->count; /* what is added is copied */
    for (size_t i = 0; i < count; i++) {
        struct shown *shown = &tree->shown[i];
        if (shown->link || take_text(tree, shown) || take_directory(tree, i))
            continue;
        shown->tree = open_tree(AT_FDCWD, shown->source,
                                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE | AT_SYMLINK_NOFOLLOW);
        if (shown->tree < 0)
            return fault_set(fault, LAYER, "open_tree", errno, "%s", shown->source);
        if (set_attributes(shown->tree, shown->attributes, shown->source, fault))
            return -1;
    }
    return 0;
}

/* Makes the directories above `path` (and `path` itself when whole) in the new root. What is there already is fine. */
static int make_parents(int root, const char *path, bool whole, struct fault *fault)
{
    char text[PATH_MAX];
    snprintf(text, sizeof text, "%s%s", path + strspn(path, "/"), whole ? "/" : "");
    for (char *slash = text; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        if (mkdirat(root, text, 0755) && errno != EEXIST)
            return fault_set(fault, LAYER, "mkdir", errno, "/%s", text);
    }
    return 0;
}

static int place_link(int root, const char *at, const char *target, struct fault *fault)
{
    if (make_parents(root, at, false, fault))
        return -1;
    /* A directory in its place: the interpreter lives below, say, /tmp. */
    if (symlinkat(target, root, at + 1) && errno != EEXIST)
        return fault_set(fault, LAYER, "symlink", errno, "%s", at);
    return 0;
}

static int place_mount(int root, const struct shown *shown, struct fault *fault)
{
    struct stat status;
    if (fstatat(shown->tree, "", &status, AT_EMPTY_PATH))
        return fault_set(fault, LAYER, "stat", errno, "%s", shown->source);
    if (make_parents(root, shown->at, S_ISDIR(status.st_mode), fault))
        return -1;
    if (!S_ISDIR(status.st_mode) && mknodat(root, shown->at + 1, S_IFREG | 0444, 0) && errno != EEXIST)
        return fault_set(fault, LAYER, "mknod", errno, "%s", shown->at);
    if (move_mount(shown->tree, "", root, shown->at + 1, MOVE_MOUNT_F_EMPTY_PATH))
        return fault_set(fault, LAYER, "move_mount", errno, "%s", shown->at);
    return 0;
}

static int place_copy(int root, const struct shown *shown, struct fault *fault)
{
    const struct timespec times[] = {shown->status.st_atim, shown->status.st_mtim};
    if (make_parents(root, shown->at, false, fault))
        return -1;
    auto_fd int file = openat(root, shown->at + 1, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 || write(file, shown->text, (size_t)shown->status.st_size) != shown->status.st_size ||
        fchmod(file, shown->status.st_mode & 0777) || futimens(file, times))
        return fault_set(fault, LAYER, "copy", errno, "%s", shown->at);
    return 0;
}

/* When all that lies in them is there, which changes their times. */
static int finish_directories(int root, const struct tree *tree, struct fault *fault)
{
    for (size_t i = 0; i < tree->count; i++) {
        const struct shown *shown = &tree->shown[i];
        const struct timespec times[] = {shown->status.st_atim, shown->status.st_mtim};
        if (shown->copied && (fchmodat(root, shown->at + 1, shown->status.st_mode & 07777, 0) ||
                              utimensat(root, shown->at + 1, times, AT_SYMLINK_NOFOLLOW)))
            return fault_set(fault, LAYER, "utimensat", errno, "%s", shown->at);
    }
    return 0;
}

static int place(int root, const struct tree *tree, struct fault *fault)
{
    for (size_t i = 0; i < tree->count; i++) {
        const struct shown *shown = &tree->shown[i];
        if (shown->link     ? place_link(root, shown->at, shown->link, fault)
            : shown->text   ? place_copy(root, shown, fault)
            : shown->copied ? make_parents(root, shown->at, true, fault)
                            : place_mount(root, shown, fault))
            return -1;
    }
    if (finish_directories(root, tree, fault))
        return -1;
    for (size_t i = 0; i < policy_link_count; i++) {
        if (place_link(root, policy_links[i].at, policy_links[i].target, fault))
            return -1;
    }
    if (make_parents(root, RUN_BOX, true, fault))
        return -1;
    if (mknodat(root, RUN_NO_INPUT + 1, S_IFREG | 0444, 0))
        return fault_set(fault, LAYER, "mknod", errno, RUN_NO_INPUT);
    return 0;
}

/* A new tmpfs over the old root; the caller still stands in the old one. */
static int new_root(struct fault *fault)
{
    auto_fd int context = fsopen("tmpfs", FSOPEN_CLOEXEC);
    if (context < 0)
        return fault_set(fault, LAYER, "fsopen", errno, "tmpfs");
    if (fsconfig(context, FSCONFIG_SET_STRING, "size", "4m", 0) ||
        fsconfig(context, FSCONFIG_SET_STRING, "nr_inodes", "4096", 0) ||
        fsconfig(context, FSCONFIG_SET_STRING, "mode", "0755", 0) ||
        fsconfig(context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
        return fault_set(fault, LAYER, "fsconfig", errno, "tmpfs");
    auto_fd int root = fsmount(context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
    if (root < 0)
        return fault_set(fault, LAYER, "fsmount", errno, "tmpfs");
    if (move_mount(root, "", AT_FDCWD, "/", MOVE_MOUNT_F_EMPTY_PATH))
        return fault_set(fault, LAYER, "move_mount", errno, "tmpfs on /");
    return take_fd(&root);
}

/* pivot_root(".", "."): the old root comes to lie over the new one and is then detached (pivot_root(2), NOTES). */
static int enter(int root, struct fault *fault)
{
    if (fchdir(root) || syscall(SYS_pivot_root, ".", "."))
        return fault_set(fault, LAYER, "pivot_root", errno, "/");
    if (umount2(".", MNT_DETACH) || chdir("/"))
        return fault_set(fault, LAYER, "umount2", errno, "the old root");
    struct mount_attr set = {.attr_set = MOUNT_ATTR_RDONLY};
    if (mount_setattr(AT_FDCWD, "/", 0, &set, sizeof set))
        return fault_set(fault, LAYER, "mount_setattr", errno, "/ read-only");
    return 0;
}

static int collect_all(struct tree *tree, const struct jail_path *extra, size_t extra_count, struct fault *fault)
{
    for (size_t i = 0; i < policy_path_count + extra_count; i++) {
        if (collect(tree, i < policy_path_count ? &policy_paths[i] : &extra[i - policy_path_count], fault))
            return -1;
    }
    prune(tree);
    return 0;
}

int root_items(const struct jail_path *extra, size_t extra_count, int (*each)(const struct root_item *item, void *with),
               void *with, struct fault *fault)
{
    auto_free struct tree *tree = calloc(1, sizeof *tree);
    if (!tree)
        return fault_set(fault, LAYER, "calloc", ENOMEM, "tree");
    int result = collect_all(tree, extra, extra_count, fault);
    for (size_t i = 0; result == 0 && i < tree->count; i++) {
        struct shown *shown = &tree->shown[i];
        struct stat status = {0};
        bool device = !shown->link && lstat(shown->source, &status) == 0 && S_ISCHR(status.st_mode);
        result = each(&(struct root_item){shown->at, shown->source, shown->link, device}, with);
    }
    return result; /* NOLINT(clang-analyzer-unix.Malloc): the texts go with the process, which is about to exec */
}

static int build(struct tree *tree, const struct jail_path *extra, size_t extra_count, struct fault *fault)
{
    if (collect_all(tree, extra, extra_count, fault) || copy_mounts(tree, fault))
        return -1;
    umask(022);
    /* The paths to show have been taken: before, inside a chroot that the server may have been started in. */
    if (leave_chroot(fault))
        return -1;
    auto_fd int root = new_root(fault);
    return root < 0 || place(root, tree, fault) ? -1 : enter(root, fault);
}

int root_template(const struct jail_plan *plan, const struct jail_path *extra, size_t extra_count, struct fault *fault)
{
    (void)plan;
    auto_free struct tree *tree = calloc(1, sizeof *tree);
    if (!tree)
        return fault_set(fault, LAYER, "calloc", ENOMEM, "tree");
    int result = build(tree, extra, extra_count, fault);
    for (size_t i = 0; i < tree->count; i++) /* the texts go with the process, which is about to exec */
        drop_fd(&tree->shown[i].tree);
    return result; /* NOLINT(clang-analyzer-unix.Malloc) */
}

int root_apply(const struct jail_plan *plan, uint64_t disk_bytes, struct fault *fault)
{
    static const char *const directories[] = {RUN_WORK, RUN_TMP, RUN_SHM};
    char options[128];
    /* The box and its three directories are inodes, too. */
    snprintf(options, sizeof options, "size=%" PRIu64 ",nr_inodes=%" PRIu64 ",mode=0755,uid=%d,gid=%d", disk_bytes,
             plan->limits.value[LIMIT_INODES] + 1 + COUNT(directories), RUN_UID, RUN_UID);
    if (mount("tmpfs", RUN_BOX, "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, options))
        return fault_set(fault, LAYER, "mount", errno, "tmpfs on %s, %s", RUN_BOX, options);
    for (size_t i = 0; i < COUNT(directories); i++) {
        if (mkdir(directories[i], 0777))
            return fault_set(fault, LAYER, "mkdir", errno, "%s", directories[i]);
    }
    if (chdir(RUN_WORK))
        return fault_set(fault, LAYER, "chdir", errno, "%s", RUN_WORK);
    return 0;
}

int root_enter_box(const struct jail_cell *cell, struct fault *fault)
{
    if (cell->box < 0)
        return fault_set(fault, LAYER, "box", 0, "the run was given none");
    if (fchdir(cell->box) || chdir("work"))
        return fault_set(fault, LAYER, "chdir", errno, "the run's box");
    return 0;
}

static int refused(const char *path, int flags, int error, struct fault *fault)
{
    auto_fd int fd = open(path, flags | O_CLOEXEC, 0600);
    if (fd >= 0)
        return fault_set(fault, LAYER, "open", 0, "%s could be opened", path);
    return errno == error ? 0 : fault_set(fault, LAYER, "open", errno, "%s", path);
}

static int check_run(struct fault *fault)
{
    if (refused("/etc/passwd", O_RDONLY, ENOENT, fault) || refused("/proc/self", O_RDONLY, ENOENT, fault) ||
        refused("/probe", O_WRONLY | O_CREAT, EROFS, fault) ||
        refused("/usr/lib/probe", O_WRONLY | O_CREAT, EROFS, fault))
        return -1;
    auto_fd int fd = open(RUN_WORK "/probe", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, "x", 1) != 1)
        return fault_set(fault, LAYER, "write", errno, "%s", RUN_WORK);
    return 0;
}

int root_check(struct fault *fault)
{
    static const struct jail_plan plan = {.limits.value[LIMIT_INODES] = 64};
    return root_apply(&plan, UINT64_C(1) << 20, fault) || check_run(fault) ? -1 : 0;
}

static int rehearse_plan(void *plan, struct fault *fault)
{
    return rehearse(plan, true, check_run, fault);
}

int root_probe(struct jail_plan *plan, struct layer_report *report)
{
    if (!(plan->layers & LAYER_BIT(LAYER_NAMESPACES)))
        return fault_set(&report->fault, LAYER, "mount", EPERM, "the namespaces layer does not hold");
    if (!plan->engine && in_child(LAYER, rehearse_plan, plan, &report->fault)) /* a tool's was tried with the rest */
        return -1;
    snprintf(report->how, sizeof report->how, "read-only, %zu host paths%s%s; a tmpfs for each run", policy_path_count,
             plan->engine ? ", by " : "", plan->engine ? engine_names[plan->engine] : "");
    return 0;
}
