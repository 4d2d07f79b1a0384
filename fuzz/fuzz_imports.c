/* imports.c, fed a script's text: whatever it says, one of the environments that may be chosen comes of it, and the
 * same one again. */
#include "fuzz.h"

#include "imports.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const struct environment_offers offers = {
        {{.name = "default", .offered = true},
         {.name = "numbers", .offered = true, .warmer = true, .modules = "numpy "},
         {.name = "named", .offered = true, .modules = "numpy pandas "},
         {.name = "data", .offered = true, .warmer = true, .modules = "numpy pandas matplotlib "},
         {.warmer = true, .modules = "numpy pandas "}}};
    struct span source = {bytes, length};
    uint32_t chosen = imports_choose(source, &offers);
    must(chosen == ENVIRONMENT_DEFAULT || (chosen < ENVIRONMENT_ROWS && offers.rows[chosen].warmer));
    must(imports_choose(source, &offers) == chosen);
    return 0;
}
