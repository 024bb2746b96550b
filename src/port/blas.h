/*-------------------------------------------------------------------------
 * blas.h
 *	  OpenBLAS, for any host that implements te_host_blas().
 *-------------------------------------------------------------------------
 */
#ifndef TE_BLAS_H
#define TE_BLAS_H

#include "port.h"

/* Loaded at the first call, from the main thread; NULL, always, where there is none. */
extern const TeBlas *te_blas_load(void);

#endif							/* TE_BLAS_H */
