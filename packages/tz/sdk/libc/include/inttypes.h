/* Formats of the integers of fixed width, and their functions; C11 7.8. */
#ifndef _INTTYPES_H
#define _INTTYPES_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if __SIZEOF_LONG__ == 8
#define __PAL_64 "l"
#else
#define __PAL_64 "ll"
#endif
#if __SIZEOF_POINTER__ == __SIZEOF_LONG__
#define __PAL_PTR "l"
#else
#define __PAL_PTR "ll"
#endif

#define PRId8 "d"
#define PRIdLEAST8 "d"
#define PRId16 "d"
#define PRIdLEAST16 "d"
#define PRId32 "d"
#define PRIdLEAST32 "d"
#define PRId64 __PAL_64 "d"
#define PRIdLEAST64 __PAL_64 "d"
#define PRIdMAX __PAL_64 "d"
#define PRIdPTR __PAL_PTR "d"
#define PRIi8 "i"
#define PRIiLEAST8 "i"
#define PRIi16 "i"
#define PRIiLEAST16 "i"
#define PRIi32 "i"
#define PRIiLEAST32 "i"
#define PRIi64 __PAL_64 "i"
#define PRIiLEAST64 __PAL_64 "i"
#define PRIiMAX __PAL_64 "i"
#define PRIiPTR __PAL_PTR "i"
#define PRIo8 "o"
#define PRIoLEAST8 "o"
#define PRIo16 "o"
#define PRIoLEAST16 "o"
#define PRIo32 "o"
#define PRIoLEAST32 "o"
#define PRIo64 __PAL_64 "o"
#define PRIoLEAST64 __PAL_64 "o"
#define PRIoMAX __PAL_64 "o"
#define PRIoPTR __PAL_PTR "o"
#define PRIu8 "u"
#define PRIuLEAST8 "u"
#define PRIu16 "u"
#define PRIuLEAST16 "u"
#define PRIu32 "u"
#define PRIuLEAST32 "u"
#define PRIu64 __PAL_64 "u"
#define PRIuLEAST64 __PAL_64 "u"
#define PRIuMAX __PAL_64 "u"
#define PRIuPTR __PAL_PTR "u"
#define PRIx8 "x"
#define PRIxLEAST8 "x"
#define PRIx16 "x"
#define PRIxLEAST16 "x"
#define PRIx32 "x"
#define PRIxLEAST32 "x"
#define PRIx64 __PAL_64 "x"
#define PRIxLEAST64 __PAL_64 "x"
#define PRIxMAX __PAL_64 "x"
#define PRIxPTR __PAL_PTR "x"
#define PRIX8 "X"
#define PRIXLEAST8 "X"
#define PRIX16 "X"
#define PRIXLEAST16 "X"
#define PRIX32 "X"
#define PRIXLEAST32 "X"
#define PRIX64 __PAL_64 "X"
#define PRIXLEAST64 __PAL_64 "X"
#define PRIXMAX __PAL_64 "X"
#define PRIXPTR __PAL_PTR "X"
#define SCNd8 "hh" "d"
#define SCNdLEAST8 "hh" "d"
#define SCNd16 "h" "d"
#define SCNdLEAST16 "h" "d"
#define SCNd32 "d"
#define SCNdLEAST32 "d"
#define SCNd64 __PAL_64 "d"
#define SCNdLEAST64 __PAL_64 "d"
#define SCNdMAX __PAL_64 "d"
#define SCNdPTR __PAL_PTR "d"
#define SCNi8 "hh" "i"
#define SCNiLEAST8 "hh" "i"
#define SCNi16 "h" "i"
#define SCNiLEAST16 "h" "i"
#define SCNi32 "i"
#define SCNiLEAST32 "i"
#define SCNi64 __PAL_64 "i"
#define SCNiLEAST64 __PAL_64 "i"
#define SCNiMAX __PAL_64 "i"
#define SCNiPTR __PAL_PTR "i"
#define SCNo8 "hh" "o"
#define SCNoLEAST8 "hh" "o"
#define SCNo16 "h" "o"
#define SCNoLEAST16 "h" "o"
#define SCNo32 "o"
#define SCNoLEAST32 "o"
#define SCNo64 __PAL_64 "o"
#define SCNoLEAST64 __PAL_64 "o"
#define SCNoMAX __PAL_64 "o"
#define SCNoPTR __PAL_PTR "o"
#define SCNu8 "hh" "u"
#define SCNuLEAST8 "hh" "u"
#define SCNu16 "h" "u"
#define SCNuLEAST16 "h" "u"
#define SCNu32 "u"
#define SCNuLEAST32 "u"
#define SCNu64 __PAL_64 "u"
#define SCNuLEAST64 __PAL_64 "u"
#define SCNuMAX __PAL_64 "u"
#define SCNuPTR __PAL_PTR "u"
#define SCNx8 "hh" "x"
#define SCNxLEAST8 "hh" "x"
#define SCNx16 "h" "x"
#define SCNxLEAST16 "h" "x"
#define SCNx32 "x"
#define SCNxLEAST32 "x"
#define SCNx64 __PAL_64 "x"
#define SCNxLEAST64 __PAL_64 "x"
#define SCNxMAX __PAL_64 "x"
#define SCNxPTR __PAL_PTR "x"

#define PRIdFAST8 __PAL_FAST8 "d"
#define PRIdFAST16 __PAL_FAST16 "d"
#define PRIdFAST32 __PAL_FAST32 "d"
#define PRIdFAST64 __PAL_FAST64 "d"
#define PRIiFAST8 __PAL_FAST8 "i"
#define PRIiFAST16 __PAL_FAST16 "i"
#define PRIiFAST32 __PAL_FAST32 "i"
#define PRIiFAST64 __PAL_FAST64 "i"
#define PRIoFAST8 __PAL_FAST8 "o"
#define PRIoFAST16 __PAL_FAST16 "o"
#define PRIoFAST32 __PAL_FAST32 "o"
#define PRIoFAST64 __PAL_FAST64 "o"
#define PRIuFAST8 __PAL_FAST8 "u"
#define PRIuFAST16 __PAL_FAST16 "u"
#define PRIuFAST32 __PAL_FAST32 "u"
#define PRIuFAST64 __PAL_FAST64 "u"
#define PRIxFAST8 __PAL_FAST8 "x"
#define PRIxFAST16 __PAL_FAST16 "x"
#define PRIxFAST32 __PAL_FAST32 "x"
#define PRIxFAST64 __PAL_FAST64 "x"
#define PRIXFAST8 __PAL_FAST8 "X"
#define PRIXFAST16 __PAL_FAST16 "X"
#define PRIXFAST32 __PAL_FAST32 "X"
#define PRIXFAST64 __PAL_FAST64 "X"
#define SCNdFAST8 __PAL_FAST8_SCN "d"
#define SCNdFAST16 __PAL_FAST16_SCN "d"
#define SCNdFAST32 __PAL_FAST32_SCN "d"
#define SCNdFAST64 __PAL_FAST64_SCN "d"
#define SCNiFAST8 __PAL_FAST8_SCN "i"
#define SCNiFAST16 __PAL_FAST16_SCN "i"
#define SCNiFAST32 __PAL_FAST32_SCN "i"
#define SCNiFAST64 __PAL_FAST64_SCN "i"
#define SCNoFAST8 __PAL_FAST8_SCN "o"
#define SCNoFAST16 __PAL_FAST16_SCN "o"
#define SCNoFAST32 __PAL_FAST32_SCN "o"
#define SCNoFAST64 __PAL_FAST64_SCN "o"
#define SCNuFAST8 __PAL_FAST8_SCN "u"
#define SCNuFAST16 __PAL_FAST16_SCN "u"
#define SCNuFAST32 __PAL_FAST32_SCN "u"
#define SCNuFAST64 __PAL_FAST64_SCN "u"
#define SCNxFAST8 __PAL_FAST8_SCN "x"
#define SCNxFAST16 __PAL_FAST16_SCN "x"
#define SCNxFAST32 __PAL_FAST32_SCN "x"
#define SCNxFAST64 __PAL_FAST64_SCN "x"

#define __PAL_FAST8 ""
#define __PAL_FAST8_SCN "hh"
#if __INT_FAST16_WIDTH__ == 64 || __SIZEOF_LONG__ == 8 && __INT_FAST16_MAX__ > 0x7fffffff
#define __PAL_FAST16 __PAL_64
#define __PAL_FAST16_SCN __PAL_64
#elif __INT_FAST16_MAX__ == 0x7fff
#define __PAL_FAST16 ""
#define __PAL_FAST16_SCN "h"
#else
#define __PAL_FAST16 ""
#define __PAL_FAST16_SCN ""
#endif
#if __INT_FAST32_MAX__ > 0x7fffffff
#define __PAL_FAST32 __PAL_64
#else
#define __PAL_FAST32 ""
#endif
#define __PAL_FAST32_SCN __PAL_FAST32
#define __PAL_FAST64 __PAL_64
#define __PAL_FAST64_SCN __PAL_64

typedef struct {
	intmax_t quot, rem;
} imaxdiv_t;

intmax_t imaxabs(intmax_t value);
imaxdiv_t imaxdiv(intmax_t numerator, intmax_t denominator);
intmax_t strtoimax(const char *text, char **end, int base);
uintmax_t strtoumax(const char *text, char **end, int base);

#ifdef __cplusplus
}
#endif

#endif
