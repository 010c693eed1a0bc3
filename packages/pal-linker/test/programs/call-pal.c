/* The same entry in a program that GNU ld linked: `call-pal COMMAND` prints what load-pal prints. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

void pal(uint32_t command, void *in, void *out, uint32_t *rv);

int main(int argc, char **argv) {
  static uint32_t in[4 + 1024], out[4 + 1024];
  uint32_t rv = 0;
  out[1] = sizeof out - 16;
  pal((uint32_t)(argc > 1 ? strtoul(argv[1], NULL, 0) : 0), in, out, &rv);
  printf("%08x ", rv);
  for (uint32_t i = 0; i < out[2] && i < sizeof out - 16; i++) printf("%02x", ((unsigned char *)(out + 4))[i]);
  printf("\n");
  return 0;
}
