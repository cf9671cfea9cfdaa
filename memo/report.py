class Report: pass
def write(*a): pass
