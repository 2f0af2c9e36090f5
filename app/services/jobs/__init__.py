"""The periodic jobs, what they have done, and how healthy the installation is."""
