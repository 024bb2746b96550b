/*-------------------------------------------------------------------------
 * peaks.h
 *	  The peaks of this machine, for benchmarks.  See peaks.c.
 *-------------------------------------------------------------------------
 */
#ifndef PEAKS_H
#define PEAKS_H

#include "port_std.h"

typedef enum PeakKind
{
	PEAK_F32,
	PEAK_INT8,
	PEAK_BF16
} PeakKind;

#define PEAK_KINDS 3

/* GFLOP/s or GOP/s of the best of the repetitions that fit `seconds`; 0 where the instruction set in use has none. */
extern double peak_rate(PeakKind kind, int threads, double seconds);

/* Bytes a second of reading this memory on so many threads, each a part of it from front to back; the best of five passes. */
extern double peak_reads(const void *memory, size_t bytes, int threads);

#endif							/* PEAKS_H */
