/* Runs a fuzz target once over every file of the directories named, each also cut short at every byte of its first 512:
 * the regression test that needs no fuzzer. */
#include "fuzz.h"

#include "scope.h"

#include <dirent.h>
#include <string.h>

enum { FILE_MOST = 1 << 20, CUTS_MOST = 512 };

/* The input stands in an allocation of its own size, so that a sanitizer sees a read past its end. */
static void run_one(const uint8_t *bytes, size_t length)
{
    auto_free uint8_t *copy = malloc(length ? length : 1);
    must(copy);
    memcpy(copy, bytes, length);
    LLVMFuzzerTestOneInput(copy, length);
}

static void run_file(const char *path)
{
    auto_free uint8_t *bytes = malloc(FILE_MOST);
    FILE *file = fopen(path, "rb");
    must(bytes && file);
    size_t length = fread(bytes, 1, FILE_MOST, file);
    fclose(file);
    for (size_t cut = 0; cut < length && cut < CUTS_MOST; cut++)
        run_one(bytes, cut);
    run_one(bytes, length);
}

static unsigned run_directory(const char *path)
{
    struct dirent **entries;
    unsigned count = 0;
    int found = scandir(path, &entries, NULL, alphasort);
    must(found >= 0);
    for (int i = 0; i < found; i++) {
        char name[4096];
        snprintf(name, sizeof name, "%s/%s", path, entries[i]->d_name);
        if (entries[i]->d_name[0] != '.') {
            run_file(name);
            count++;
        }
        free(entries[i]);
    }
    free(entries);
    return count;
}

int main(int argc, char **argv)
{
    unsigned count = 0;
    for (int i = 1; i < argc; i++)
        count += run_directory(argv[i]);
    printf("%u inputs\n", count);
    return count ? EXIT_SUCCESS : EXIT_FAILURE; /* an empty corpus tests nothing */
}
