/* Maps the sections of a PAL image where they belong, with their protection, and calls the entry: what an engine does, without the isolation.
 * Usage: load-pal FILE COMMAND INPUT-HEX. FILE: u64 entry, u64 count, then for each section u64 address, u64 size, u64 protection,
 * u64 length of content, content. Prints the return code and the output as hexadecimal digits. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static uint64_t take(FILE *file) {
  uint64_t value;
  if (fread(&value, sizeof value, 1, file) != 1) exit(90);
  return value;
}

int main(int argc, char **argv) {
  static uint32_t in[4 + 1024], out[4 + 1024];
  FILE *file = argc > 1 ? fopen(argv[1], "rb") : NULL;
  if (!file) return 91;
  uint64_t entry = take(file);
  for (uint64_t count = take(file); count > 0; count--) {
    uint64_t address = take(file), size = take(file), protection = take(file), length = take(file);
    void *at = mmap((void *)address, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    if (at != (void *)address || fread(at, 1, length, file) != length) return 92;
    if (mprotect(at, size, (int)protection)) return 93;
  }
  uint32_t rv = 0;
  out[1] = sizeof out - 16;
  if (argc > 3) {
    size_t length = strlen(argv[3]) / 2;
    for (size_t i = 0; i < length && i < sizeof in - 16; i++) sscanf(argv[3] + 2 * i, "%2hhx", (unsigned char *)(in + 4) + i);
    in[1] = in[3] = (uint32_t)length;
  }
  void (*pal)(uint32_t, void *, void *, uint32_t *) = (void (*)(uint32_t, void *, void *, uint32_t *))entry;
  pal((uint32_t)(argc > 2 ? strtoul(argv[2], NULL, 0) : 0), in, out, &rv);
  printf("%08x ", rv);
  for (uint32_t i = 0; i < out[2] && i < sizeof out - 16; i++) printf("%02x", ((unsigned char *)(out + 4))[i]);
  printf("\n");
  return 0;
}
