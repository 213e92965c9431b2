"""What tests of Conflux use, and yours may."""
