/* The working directory's files: placed before a script runs, collected after it has ended.
 *
 * All inside the jail, with the script's own rights, so a path can reach nothing that the script cannot. What a script
 * left is trusted in nothing: only regular files are returned, no symbolic link is followed, sizes are asked before
 * reading. */
#ifndef SAFE_SCRIPT_FILES_H
#define SAFE_SCRIPT_FILES_H

#include "frames.h"

#include <stdbool.h>
#include <stddef.h>

/* Writes one file of the request below the current directory, with the directories on its way. Returns 0, or -1 with
 * what and why in why ("files: a/b.txt: No space left on device"). */
int files_place(struct span path, struct span data, char *why, size_t size);

/* Notes a pattern of files to return: '/'-separated, each part as fnmatch(3) has it, hidden names only by a leading
 * dot, ** for any number of directories. Returns -1 when out of memory or when there are more than the request may
 * have. */
int files_want(struct span pattern);

/* Whether any pattern was noted. */
bool files_wanted(void);

/* Appends FILE_PATH and FILE_DATA frames of all files below `directory` that match a pattern, in the order of their
 * names. `is_text` says whether a name is valid UTF-8: others cannot be named in a report. Returns 0, or why not all of
 * them are there: FAIL_TOO_BIG when they are more than `most` bytes together, FAIL_TOO_MANY, FAIL_MEMORY. Descriptors
 * above 3 must be free. */
enum failure files_collect(const char *directory, size_t most, bool (*is_text)(const char *name),
                           struct buffer *frames);

#endif
