#include "watch.h"

#include "scope.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Name:, the one line with bytes of a script's, is escaped by the kernel and cannot forge a line. */
static uint64_t number_in(const char *text, const char *key)
{
    const char *line = strstr(text, key);
    return line ? strtoull(line + strlen(key), NULL, 10) : 0;
}

/* Each thread has a list of the processes that it has made. */
static bool has_children(pid_t pid)
{
    char path[48];
    bool found = false;
    snprintf(path, sizeof path, "/proc/%d/task", pid);
    DIR *threads = opendir(path);
    for (struct dirent *entry; threads && !found && (entry = readdir(threads));) {
        char name[sizeof entry->d_name + 16], byte;
        snprintf(name, sizeof name, "%s/children", entry->d_name);
        auto_fd int fd = openat(dirfd(threads), name, O_RDONLY | O_CLOEXEC);
        found = fd >= 0 && read(fd, &byte, 1) == 1;
    }
    if (threads)
        closedir(threads);
    return found;
}

pid_t watch_only_child(pid_t pid)
{
    char path[64], text[64], *end = text;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", pid, pid);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length <= 0)
        return 0;
    text[length] = 0;
    long child = strtol(text, &end, 10);
    return child > 0 && strspn(end, " ") == strlen(end) ? (pid_t)child : 0;
}

/* What it has touched: resident or swapped out, and the page tables of it, which reading alone makes. */
static const char *const counted[] = {"\nRssAnon:", "\nRssShmem:", "\nVmSwap:", "\nVmPTE:"};

struct watched watch_process(pid_t pid)
{
    uint64_t kib = 0;
    char path[40], text[4096];
    snprintf(path, sizeof path, "/proc/%d/status", pid);
    auto_fd int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t length = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (length <= 0)
        return (struct watched){0};
    text[length] = 0;
    for (size_t i = 0; i < COUNT(counted); i++)
        kib += number_in(text, counted[i]);
    return (struct watched){
        .memory_bytes = kib * 1024,
        .threads = number_in(text, "\nThreads:"),
        .children = has_children(pid),
    };
}
