# VTE
