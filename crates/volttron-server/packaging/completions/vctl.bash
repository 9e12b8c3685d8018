# Completion of vctl; the program itself knows what can follow.
source <(vctl completions bash 2>/dev/null)
